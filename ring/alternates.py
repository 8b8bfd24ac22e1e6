"""Step 4: the alternates, at most two earlier owners of a bucket that may still hold some of its flows.

They are the last two that differ as backends, latest first, never the owner of today and never one that
cannot answer any more. Those that only answer (failed, the agent still there) fill the places that nobody else
wants. A backend without an agent cannot pass a packet on, so it stands last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ring.engine import engine
from ring.errors import RingError
from ring.slots import MAX_BACKEND

Owners = NDArray[np.uint16]


class Past(NamedTuple):
    """The owners in an earlier epoch, a backend id a bucket, and who is among them (0, nobody, left aside)."""

    owners: Owners
    backends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who may be an alternate, by backend id, and in which place.

    `preferred` may be asked for their flows (None: all but those of last resort). `last_resort` only fill places
    that no preferred one takes. `keyless` cannot pass packets on and stand behind those that can; this alone
    makes nobody an alternate.
    """

    preferred: Collection[int] | None = None
    last_resort: Collection[int] = ()
    keyless: Collection[int] = ()


EVERYBODY = Standing()


class Lists(NamedTuple):
    """First and second alternate, a backend id a bucket or 0; `is_full`: some earlier owner found no place."""

    first: Owners
    second: Owners
    is_full: bool


def recall(owners: Owners, earlier: Sequence[Past], standing: Standing = EVERYBODY) -> Lists:
    """Return the alternates from the owners of earlier epochs, *latest first*.

    Backends that `standing` does not let in neither appear nor take up a place. Raises RingError for an
    impossible backend id in it.
    """
    first, second, is_full = np.zeros_like(owners), np.zeros_like(owners), False
    columns = [past.owners for past in earlier]
    for admitted in _rounds(standing):
        mixed = [not admitted.takes_all(past.backends) for past in earlier]
        is_full |= engine().remember(owners, columns, mixed, admitted.flags, first, second)
    return Lists(*_keyless_last(first, second, standing.keyless), is_full)


class _Round(NamedTuple):
    """Who may take a place: one flag a backend id, and the same as sets (`ids` None: all) without `others`."""

    flags: NDArray[np.uint8]
    ids: frozenset[int] | None
    others: frozenset[int]

    def takes_all(self, backends: frozenset[int]) -> bool:
        return (self.ids is None or backends <= self.ids) and backends.isdisjoint(self.others)


def _rounds(standing: Standing) -> Iterator[_Round]:
    """Yield the rounds of filling places: first the preferred, then the last resort."""
    resort, last = flags_of("last resort", standing.last_resort), frozenset(standing.last_resort)
    preferred = flags_of("allowed alternates", standing.preferred)
    preferred[resort != 0] = 0
    yield _Round(preferred, None if standing.preferred is None else frozenset(standing.preferred), last)
    if last:
        yield _Round(resort, last, frozenset())


def _keyless_last(first: Owners, second: Owners, keyless: Collection[int]) -> tuple[Owners, Owners]:
    if not keyless:
        return first, second
    ends = flags_of("backends without agent", keyless)
    passes_on = (second != 0) & (ends[second] == 0)
    swapped = (ends[first] != 0) & passes_on
    return np.where(swapped, second, first), np.where(swapped, first, second)


def flags_of(what: str, backends: Collection[int] | None) -> NDArray[np.uint8]:
    """Return one flag a backend id, set for `backends` (None: all); that of 0, "none", is never set.

    Raises RingError, which says `what` the ids are, for one that no backend can have.
    """
    flags = np.full(MAX_BACKEND + 1, backends is None, dtype=np.uint8)
    for backend in backends or ():
        if not 0 <= backend <= MAX_BACKEND:
            raise RingError(f"{what}: backend id {backend} must be 1..{MAX_BACKEND}")
        flags[backend] = 1
    flags[0] = 0
    return flags
