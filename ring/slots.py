"""Slots of a pool: the only input of a table besides its size and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ring.errors import RingError

MAX_NUMBER = 65534
MAX_WEIGHT = 65535
MAX_BACKEND = 65535


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered, weighted place in a pool, and who sits in it.

    `number` 0..65534, `weight` 1..65535, `backend` 1..65535 or 0 for an empty slot. A slot that is not
    `active` (its backend drains or has failed) keeps its home buckets but serves none of them; an empty slot
    never serves. Raises RingError for anything out of range.
    """

    number: int
    weight: int = 1
    backend: int = 0
    active: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.number <= MAX_NUMBER:
            raise RingError(f"slot {self.number}: number must be 0..{MAX_NUMBER}")
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise RingError(f"slot {self.number}: weight {self.weight} must be 1..{MAX_WEIGHT}")
        if not 0 <= self.backend <= MAX_BACKEND:
            raise RingError(f"slot {self.number}: backend id {self.backend} must be 0..{MAX_BACKEND}")


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """The slots of one epoch as columns, in the order of their numbers: what the table functions work on.

    All four arrays have one entry a slot: `numbers`, `weights` and `backends` uint16, `serving` uint8 (1:
    takes flows). Line-ups are equal, and hash alike, by content.
    """

    numbers: NDArray[np.uint16]
    weights: NDArray[np.uint16]
    backends: NDArray[np.uint16]
    serving: NDArray[np.uint8]
    _key: bytes = field(init=False, repr=False)
    """The columns of one length, one after the other: line-ups are looked up far more often than made."""

    def __post_init__(self) -> None:
        columns = (self.numbers, self.weights, self.backends, self.serving)
        object.__setattr__(self, "_key", b"".join(column.tobytes() for column in columns))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def servers(self) -> frozenset[int]:
        """The ids of the backends that take flows."""
        return frozenset(self.backends[self.serving != 0].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lineup) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def line_up(slots: Sequence[Slot]) -> Lineup:
    """Return `slots` as columns in the order of their numbers, however they were ordered.

    Raises RingError when two slots have the same number.
    """
    ordered = sorted(slots, key=attrgetter("number"))
    numbers = _column(ordered, "number")
    repeated = np.flatnonzero(numbers[1:] == numbers[:-1])
    if repeated.size:
        raise RingError(f"slot {numbers[repeated[0]]}: number given to more than one slot")
    backends = _column(ordered, "backend")
    active = np.fromiter(map(attrgetter("active"), ordered), dtype=np.bool_, count=len(ordered))
    serving = (active & (backends != 0)).astype(np.uint8)
    return Lineup(numbers, _column(ordered, "weight"), backends, serving)


def _column(slots: Sequence[Slot], field: str) -> NDArray[np.uint16]:
    return np.fromiter(map(attrgetter(field), slots), dtype=np.uint16, count=len(slots))
