"""The table of one pool in one epoch: for every bucket its owner and its alternates.

The owner is a function of the slots and of who is active, without history; the alternates are a function of
the epochs in the pool's window. Home tables depend on numbers and weights alone and are kept, so a change of
state costs failover and no more, and replaying the window's epochs costs little beyond reading them.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ring import alternates, failover, maglev
from ring.errors import RingError
from ring.slots import Lineup, Slot, line_up

_KEPT_HOMES = 16
_KEPT_OWNERS = 512
_KEPT_TABLES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`owners`, `first` and `second`: one backend id (uint16, read-only) a bucket, 0 for none."""

    size: int
    owners: NDArray[np.uint16]
    first: NDArray[np.uint16]
    second: NDArray[np.uint16]
    _digest: str = field(default="", init=False, repr=False)

    def digest(self) -> str:
        """Return 32 hex digits that only equal tables share: BLAKE2b of size, owners and alternates."""
        if not self._digest:
            object.__setattr__(self, "_digest", self._count_digest())
        return self._digest

    def _count_digest(self) -> str:
        digest = blake2b(struct.pack("<I", self.size), digest_size=16, person=b"evenkeel table")
        for column in (self.owners, self.first, self.second):
            digest.update(np.ascontiguousarray(column, dtype="<u2").data)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._columns() == other._columns()

    def __hash__(self) -> int:
        return hash(self._columns())

    def _columns(self) -> tuple[bytes, ...]:
        return self.owners.tobytes(), self.first.tobytes(), self.second.tobytes()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a bucket goes where it goes. `home` and `server` are slot numbers, the rest backend ids (0: none).

    `server` is the slot that serves the bucket: the home slot, or after failover another, or None if no slot
    serves.
    """

    bucket: int
    home: int
    home_backend: int
    server: int | None
    owner: int
    alternates: tuple[int, ...]


def build(
    size: int,
    seed: int,
    slots: Sequence[Slot],
    earlier: Sequence[Sequence[Slot]] = (),
    alternates_allowed: Collection[int] | None = None,
    last_resort: Collection[int] = (),
    keyless: Collection[int] = (),
) -> Table:
    """Return the table of `slots` in a pool of `size` (prime) buckets with `seed`.

    `earlier` are the slots of the window's earlier epochs, oldest first. `alternates_allowed` are the ids of
    backends that may still be asked for their flows (None: all but the last resort), `last_resort` of those that
    only fill free places (failed, but they answer), `keyless` of those without an agent, which come last in
    any list. Raises RingError for a size, seed, slots or ids that no table can be built from.
    """
    lineup = line_up(slots)
    allowed = None if alternates_allowed is None else frozenset(alternates_allowed)
    standing = alternates.Standing(allowed, frozenset(last_resort), frozenset(keyless))
    return _build(size, seed, lineup, tuple(distinct(lineup, earlier)), standing)


@lru_cache(maxsize=_KEPT_TABLES)
def _build(
    size: int, seed: int, lineup: Lineup, earlier: tuple[Lineup, ...], standing: alternates.Standing
) -> Table:
    """The table: kept for a moment, because a leader seals it, stages it, and judges by it."""
    owners = owners_of(size, seed, lineup)
    first, second, _ = alternates.recall(owners, [past(size, seed, each) for each in earlier], standing)
    return Table(size, owners, _frozen(first), _frozen(second))


def explain(
    bucket: int,
    size: int,
    seed: int,
    slots: Sequence[Slot],
    earlier: Sequence[Sequence[Slot]] = (),
    alternates_allowed: Collection[int] | None = None,
    last_resort: Collection[int] = (),
    keyless: Collection[int] = (),
) -> Explanation:
    """Return what `build` with the same arguments decided for `bucket`, and why. RingError without slots."""
    if not slots or not 0 <= bucket < size:
        raise RingError(f"bucket {bucket}: must be 0..{size - 1} of a pool with slots ({len(slots)} given)")
    table = build(size, seed, slots, earlier, alternates_allowed, last_resort, keyless)
    lineup = line_up(slots)
    home = int(home_of(size, seed, lineup)[bucket])
    server = int(_servers(size, seed, lineup)[bucket])
    remembered = (int(table.first[bucket]), int(table.second[bucket]))
    return Explanation(
        bucket=bucket,
        home=int(lineup.numbers[home]),
        home_backend=int(lineup.backends[home]),
        server=None if server == failover.NOBODY else int(lineup.numbers[server]),
        owner=int(table.owners[bucket]),
        alternates=tuple(backend for backend in remembered if backend),
    )


@lru_cache(maxsize=_KEPT_OWNERS)
def past(size: int, seed: int, lineup: Lineup) -> alternates.Past:
    """Return the owners in an earlier epoch as `ring.alternates.recall` wants them."""
    return alternates.Past(owners_of(size, seed, lineup), lineup.servers)


def distinct(newest: Lineup, earlier: Sequence[Sequence[Slot] | Lineup]) -> Iterator[Lineup]:
    """Yield the earlier line-ups, latest first, without repetitions: those add no owner not seen before."""
    seen = {newest}
    for slots in reversed(earlier):
        lineup = slots if isinstance(slots, Lineup) else line_up(slots)
        if lineup not in seen:
            seen.add(lineup)
            yield lineup


@lru_cache(maxsize=_KEPT_OWNERS)
def owners_of(size: int, seed: int, lineup: Lineup) -> NDArray[np.uint16]:
    """Return one backend id a bucket, read-only; 0 where no slot serves: NOBODY indexes beyond all slots."""
    if not len(lineup):
        maglev.check_size(size)
        return _frozen(np.zeros(size, dtype=np.uint16))
    backends = np.zeros(failover.NOBODY + 1, dtype=np.uint16)
    backends[: len(lineup)] = lineup.backends
    return _frozen(backends[_servers(size, seed, lineup)])


def _servers(size: int, seed: int, lineup: Lineup) -> NDArray[np.uint16]:
    return failover.serve(home_of(size, seed, lineup), lineup, seed)


def home_of(size: int, seed: int, lineup: Lineup) -> NDArray[np.uint16]:
    """Return the index in `lineup` of each bucket's home slot: a function of numbers and weights alone."""
    return _home(size, seed, lineup.numbers.tobytes(), lineup.weights.tobytes())


@lru_cache(maxsize=_KEPT_HOMES)
def _home(size: int, seed: int, numbers: bytes, weights: bytes) -> NDArray[np.uint16]:
    """The index of each bucket's home slot; the columns as bytes, so that they can be keys."""
    offsets, skips = maglev.permutations(np.frombuffer(numbers, dtype=np.uint16).tolist(), seed, size)
    return _frozen(maglev.populate(offsets, skips, np.frombuffer(weights, dtype=np.uint16), size))


def _frozen(column: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Columns are shared between tables and the caches: nobody writes into them."""
    column.setflags(write=False)
    return column
