"""Tables in the kernel: written aside, then switched by one store. The maps alone say what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.arena import Arena, claimed
from lbnode.dataplane.buckets import (
    check,
    moved,
    pack_buckets,
    pack_members,
    unpack_buckets,
    with_flag,
    without_flag,
)
from lbnode.dataplane.errors import CapacityError, DataPlaneError, LayoutError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.values import LoadedTable, PoolTable, PoolTables
from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.ids import EpochNumber, PoolName
from ring.table import Table

_FIRST_PLACE = 8
"""`base` 0 means "no table"."""
_ALIGNMENT = 8
_HALVES = 2


class _Record(NamedTuple):
    """Where in `pool_records` a table is written down."""

    pool: int
    half: int


class Hashing(NamedTuple):
    """How a pool's packets come to their buckets: table size, 11 keys, hash mode and algorithm."""

    size: int
    keys: tuple[int, ...]
    by_source: bool
    siphash: bool


class Tables:
    """The tables of all pools in one map. Numbers of pools are given out here."""

    def __init__(self, memory: NodeMemory, grace: Grace) -> None:
        self._memory = memory
        self._grace = grace
        self._numbers = {self._name(number): number for number in self._numbers_in_use()}
        self._places = int(memory.control["table_places"])
        self._arena = Arena(_FIRST_PLACE, self._places, _ALIGNMENT, memory.layout["TABLE_ROW"])
        self._bucket_counts = Arena(0, len(memory.bucket_counts))
        self._counts_buckets = len(memory.bucket_counts) > 1
        self._adopt()

    def _numbers_in_use(self) -> list[int]:
        return [int(number) for number in np.flatnonzero(self._memory.pool_records["name"] != b"")]

    def _name(self, number: int) -> PoolName:
        return PoolName(self._memory.pool_records["name"][number].decode())

    def _adopt(self) -> None:
        tables = [self._table(record) for record in self._records()]
        if not claimed(self._arena, [_extent(table) for table in tables]):
            raise LayoutError("adopt tables: their records overlap: run `lbnode unload` and start again")
        if self._counts_buckets:
            pools = self._memory.pools[list(self._numbers.values())]
            counters = [(int(pool["bucket_counts"]), int(pool["size"])) for pool in pools]
            if not claimed(self._bucket_counts, [extent for extent in counters if extent[1]]):
                raise LayoutError("adopt bucket counters: they overlap: run `lbnode unload` and start again")

    def _records(self) -> Iterator[_Record]:
        """Every record that holds a table."""
        for number in self._numbers.values():
            for half in range(_HALVES):
                if self._table(_Record(number, half))["epoch"]:
                    yield _Record(number, half)

    def _table(self, record: _Record) -> Any:
        return self._memory.pool_records["table"][record.pool, record.half]

    def _current_base(self, number: int) -> int:
        return int(self._memory.current[number]) >> 32

    def _half(self, number: int, current: bool) -> int | None:
        """Which record of a pool is the current one (or, for `current` False, holds a staged table)."""
        base = self._current_base(number)
        for half in range(_HALVES):
            table = self._table(_Record(number, half))
            if table["epoch"] and (int(table["base"]) == base) == current:
                return half
        return None

    def number(self, pool: PoolName) -> int:
        """Return the pool's number in the maps; raises DataPlaneError when the pool has never been staged."""
        if pool not in self._numbers:
            raise DataPlaneError(f"pool {pool}: the kernel holds no table of it: stage one first")
        return self._numbers[pool]

    def name(self, number: int) -> PoolName:
        """Return the name of the pool with this number."""
        return self._name(number)

    def hashing(self, number: int) -> Hashing:
        """Return what the pool's buckets depend on."""
        pool, layout = self._memory.pools[number], self._memory.layout
        flags = int(pool["flags"])
        return Hashing(
            int(pool["size"]),
            tuple(pool["key"].tolist()),
            bool(flags & layout["POOL_BY_SOURCE"]),
            bool(flags & layout["POOL_SIPHASH"]),
        )

    def loaded(self) -> dict[PoolName, PoolTables]:
        """Return what the kernel holds, pool by pool."""
        return {
            pool: PoolTables(
                self._loaded(number, current=True),
                self._loaded(number, current=False),
                bool(self._memory.pool_records["is_recorded"][number]),
            )
            for pool, number in sorted(self._numbers.items())
        }

    def digests(self) -> dict[PoolName, str]:
        """Return the digests of the tables that carry traffic, counted from their buckets in the map.

        `loaded` says what was written beside them; the two differ when something else wrote here.
        """
        found = {pool: self._words(number, current=True) for pool, number in self._numbers.items()}
        return {
            pool: Table(len(words), *unpack_buckets(words)).digest()
            for pool, words in sorted(found.items())
            if words is not None
        }

    def _loaded(self, number: int, current: bool) -> LoadedTable | None:
        half = self._half(number, current)
        if half is None:
            return None
        table = self._table(_Record(number, half))
        return LoadedTable(EpochNumber(int(table["epoch"])), int(table["size"]), table["digest"].decode())

    def stage(self, table: PoolTable) -> bool:
        """Write a table aside; one that was staged before is forgotten. Packets see nothing of it.

        Returns True when what is fixed for the pool's life was (re)written: before its first switch. Raises
        CapacityError when the map is full, DataPlaneError when the table does not fit its pool.
        """
        check(table)
        number = self._enter(table)
        is_new = not self._current_base(number)
        self._forget_staged(number)
        words = self._words_of(table)
        base = self._allocate(table, len(words))
        self._memory.tables[base : base + len(words)] = words
        current = self._half(number, current=True)
        record = self._table(_Record(number, 0 if current != 0 else 1))
        record["base"], record["size"], record["digest"] = base, table.size, table.digest.encode()
        record["bits"] = _bits(table, self._memory.layout.constants)
        record["members"] = len(words) - table.size
        record["epoch"] = table.epoch
        if table.flow_table:
            self._record_flows(number)
        return is_new

    def _words_of(self, table: PoolTable) -> NDArray[np.uint64]:
        """A table as it lies in the map: its buckets, then its members."""
        constants = self._memory.layout.constants
        return np.concatenate([pack_buckets(table, constants), pack_members(table, constants)])

    def _words(self, number: int, current: bool) -> NDArray[np.uint64] | None:
        """The buckets of a pool's current or staged table, as they lie in the map."""
        half = self._half(number, current)
        if half is None:
            return None
        record = self._table(_Record(number, half))
        return self._memory.tables[int(record["base"]) : int(record["base"]) + int(record["size"])]

    def _record_flows(self, number: int) -> None:
        """Have the flows written down whose buckets the staged table gives to another owner."""
        current, staged = self._words(number, current=True), self._words(number, current=False)
        if current is None or staged is None:
            return
        self._memory.pool_records["is_recorded"][number] = 1
        with_flag(current, moved(current, staged), self._memory.layout["BUCKET_RECORDED"])

    def _stop_recording(self, number: int) -> None:
        current = self._words(number, current=True)
        if current is not None and self._memory.pool_records["is_recorded"][number]:
            without_flag(current, self._memory.layout["BUCKET_RECORDED"])
        self._memory.pool_records["is_recorded"][number] = 0

    def _enter(self, table: PoolTable) -> int:
        """Return the pool's number, given out now if it is new; what is fixed for its life is checked or written."""
        number = self._numbers.get(table.pool)
        if number is None:
            number = self._new_number(table.pool)
        pool = self._memory.pools[number]
        wanted = (table.size, _flags(table, self._memory.layout.constants))
        if not self._current_base(number):
            self._write_pool(number, table)
        elif (int(pool["size"]), int(pool["flags"])) != wanted or tuple(
            pool["key"].tolist()
        ) != table.keys.words:
            raise DataPlaneError(
                f"stage epoch {table.epoch} of pool {table.pool}: table size, hash and key are fixed for a pool's "
                "life: make a new pool instead"
            )
        return number

    def _new_number(self, pool: PoolName) -> int:
        places, longest = self._memory.layout["POOL_PLACES"], self._memory.layout["NAME_SIZE"]
        name = pool.encode()
        if not name or len(name) > longest:
            raise DataPlaneError(f"pool {pool!r}: a name has 1 to {longest} bytes")
        number = next((n for n in range(places) if n not in self._numbers.values()), None)
        if number is None:
            raise CapacityError(f"pool {pool}: the node's program holds {places} pools (POOL_PLACES)")
        self._memory.pool_records["name"][number] = name
        self._numbers[pool] = number
        return number

    def _write_pool(self, number: int, table: PoolTable) -> None:
        pool = self._memory.pools[number]
        if self._counts_buckets:
            self._count_buckets(pool, table)
        pool["size"] = table.size
        pool["flags"] = _flags(table, self._memory.layout.constants)
        pool["key"] = table.keys.words
        pool["sip"] = np.frombuffer(table.keys.sip, dtype="<u8")

    def _count_buckets(self, pool: Any, table: PoolTable) -> None:
        if pool["size"]:
            self._bucket_counts.release(int(pool["bucket_counts"]))
            pool["size"] = 0
        base = self._bucket_counts.allocate(table.size)
        if base is None:
            raise CapacityError(f"pool {table.pool}: no room for its bucket counters: raise table_places")
        pool["bucket_counts"] = base
        self._memory.bucket_counts[base : base + table.size] = 0

    def _forget_staged(self, number: int) -> None:
        self._stop_recording(number)
        half = self._half(number, current=False)
        if half is not None:
            record = self._table(_Record(number, half))
            record["epoch"] = 0
            self._arena.release(int(record["base"]))

    def _allocate(self, table: PoolTable, places: int) -> int:
        self._arena.reclaim(self._grace.passed)
        base = self._arena.allocate(places)
        if base is None and self._arena.has_retired:
            self._grace.ensure_all()
            self._arena.reclaim(self._grace.passed)
            base = self._arena.allocate(places)
        if base is None:
            raise CapacityError(
                f"stage epoch {table.epoch} of pool {table.pool}: no room for {places} places beside "
                f"{self._arena.used} of {self._places}: raise table_places and restart "
                "(each pool needs its table size twice)"
            )
        return base

    def switch(self, pool: PoolName) -> None:
        """Let the staged table carry the pool's traffic: one store, no packet sees a mixture."""
        number = self.number(pool)
        staged = self._half(number, current=False)
        if staged is None:
            raise DataPlaneError(f"switch pool {pool}: no table is staged")
        before = self._half(number, current=True)
        record = self._table(_Record(number, staged))
        self._memory.current[number] = int(record["base"]) << 32 | int(record["bits"])
        self._memory.pool_records["is_recorded"][number] = 0
        if before is not None:
            self._retire(_Record(number, before))

    def _retire(self, which: _Record) -> None:
        record = self._table(which)
        record["epoch"] = 0
        self._arena.retire(int(record["base"]), self._grace.retire())

    def drop(self, pool: PoolName) -> None:
        """Forget a pool and its tables; no VIP may point at it."""
        number = self.number(pool)
        self._forget_staged(number)
        current = self._half(number, current=True)
        self._memory.current[number] = 0
        if current is not None:
            self._retire(_Record(number, current))
        self._grace.wait()
        if self._counts_buckets and self._memory.pools["size"][number]:
            self._bucket_counts.release(int(self._memory.pools["bucket_counts"][number]))
        self._memory.pools[number] = np.zeros((), self._memory.pools.dtype)
        self._memory.pool_records["name"][number] = b""
        del self._numbers[pool]

    def bucket_packets(self, pool: PoolName) -> NDArray[np.uint64]:
        """Return a copy of the packets counted in each bucket of the pool, all CPUs together.

        Raises DataPlaneError when the maps were made without these counters.
        """
        if not self._counts_buckets:
            raise DataPlaneError("bucket counters: off: set count_buckets and restart")
        record = self._memory.pools[self.number(pool)]
        start = int(record["bucket_counts"])
        return self._memory.bucket_counts[start : start + int(record["size"])].copy()


def _bits(table: PoolTable, constants: dict[str, int]) -> int:
    return table.stamp | (constants["CURRENT_TUNNEL_IPV6"] if table.tunnel == 6 else 0)


def _extent(table: Any) -> tuple[int, int]:
    """Where a table lies: its first place, and how many."""
    return int(table["base"]), int(table["size"]) + int(table["members"])


def _flags(table: PoolTable, constants: dict[str, int]) -> int:
    by_source = constants["POOL_BY_SOURCE"] if table.mode is HashMode.SOURCE else 0
    siphash = constants["POOL_SIPHASH"] if table.algorithm is HashAlgorithm.SIPHASH else 0
    return by_source | siphash
