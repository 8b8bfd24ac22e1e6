"""VIPs in the kernel: the whole set in directories of its own, switched by one store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.prefixes import Prefix, cut
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.values import Count, VipEntry
from lbnode.dataplane.vip_records import Place, VipRecords, write_directory
from lbnode.model.ids import PoolName
from lbnode.model.vip import VipKey, key_order


class Vips:
    """The VIPs that the kernel serves."""

    def __init__(self, memory: NodeMemory, grace: Grace, rows: CounterRows, tables: Tables) -> None:
        self._memory = memory
        self._grace = grace
        self._rows = rows
        self._tables = tables
        self._records = VipRecords(memory.layout.constants)
        self._retired = 0
        self._row_of: dict[VipKey, int] = {}
        self._entries = self._found()
        for row in self._row_of.values():
            rows.claim(row)

    def _active(self) -> int:
        return int(self._memory.chosen_directory[0]) & 1

    def _found(self) -> tuple[VipEntry, ...]:
        """The VIPs as they were set, read from the kernel with their rows."""
        prefixes = self._memory.prefixes[self._active()]
        passing = self._records.read_passing(prefixes["directory"]["place"])
        entries = []
        for key, place in (
            *self._records.read_exact(self._memory.vips["place"][self._active()]),
            *self._records.read_wide(prefixes["vip"]),
        ):
            pool = self._tables.name(int(place["pool"]))
            entries.append(VipEntry(*key, pool, key.address in passing))
            self._row_of[key] = int(place["row"])
        return tuple(entries)

    def entries(self) -> tuple[VipEntry, ...]:
        """Return the VIPs in the kernel."""
        return self._entries

    def rows(self) -> dict[VipKey, int]:
        """Return each VIP's row among the counters."""
        return dict(self._row_of)

    def counters(self) -> dict[VipKey, Count]:
        """Return what each VIP has counted."""
        return self._rows.read_by(self._row_of)

    def counters_by_pool(self) -> dict[PoolName, Count]:
        """Return the sums over each pool's VIPs: a packet that is forwarded has one VIP, and a VIP one pool."""
        counts, by_pool = self.counters(), defaultdict[PoolName, list[Count]](list)
        for entry in self._entries:
            by_pool[entry.pool].append(counts[entry.key])
        return {pool: Count(*map(sum, zip(*each, strict=True))) for pool, each in by_pool.items()}

    def set(self, entries: Sequence[VipEntry]) -> None:
        """Make `entries` all the VIPs there are, at once for every packet.

        Raises CapacityError, or DataPlaneError for VIPs that nothing tells apart or an unknown pool; then nothing
        changes.
        """
        if sorted(entries, key=_order) == sorted(self._entries, key=_order):
            return
        self._set(entries)

    def renew(self) -> None:
        """Write the VIPs again, after what they copy of their pools has changed."""
        if self._entries:
            self._set(self._entries)

    def _set(self, entries: Sequence[VipEntry]) -> None:
        _check(entries)
        pools = {entry.key: self._tables.number(entry.pool) for entry in entries}
        prefixes = cut(entries, self._portless(entries))
        rows = {key: self._row_of.get(key) or self._rows.allocate(f"VIP {key}") for key in pools}
        exact = self._exact(prefixes, pools, rows)
        self._publish(exact, prefixes, self._wide(pools, rows))
        for key in set(self._row_of) - set(rows):
            self._rows.retire(self._row_of[key])
        self._row_of = rows
        self._entries = tuple(entries)

    def _portless(self, entries: Sequence[VipEntry]) -> frozenset[PoolName]:
        pools = {entry.pool for entry in entries}
        return frozenset(pool for pool in pools if self._tables.hashing(self._tables.number(pool)).by_source)

    def _exact(
        self, prefixes: Sequence[Prefix], pools: Mapping[VipKey, int], rows: Mapping[VipKey, int]
    ) -> list[Place]:
        """What the first look finds: VIPs of one address and port, and the fragments to one address."""
        places = [
            self._records.exact(key, pool, rows[key], self._tables.hashing(pool))
            for key, pool in pools.items()
            if key.is_exact
        ]
        for prefix in prefixes:
            for key in prefix.fragments.values():
                address, hashing = prefix.network.network_address, self._tables.hashing(pools[key])
                places.append(self._records.fragments(address, key, pools[key], rows[key], hashing))
        return places

    def _wide(self, pools: Mapping[VipKey, int], rows: Mapping[VipKey, int]) -> dict[VipKey, Place]:
        return {
            key: self._records.wide(key, pool, rows[key], self._tables.hashing(pool))
            for key, pool in pools.items()
            if not key.is_exact
        }

    def _publish(self, exact: list[Place], prefixes: list[Prefix], wide: dict[VipKey, Place]) -> None:
        """Write the directories that are not in use, then let them be the ones."""
        of_prefixes, stretches = self._records.prefixes(prefixes)
        directories = self._records.directory(exact), self._records.directory(of_prefixes)
        if len(wide) > self._memory.layout["VIP_PLACES"]:
            raise CapacityError(f"VIPs: {len(wide)} of many addresses or ports do not fit (VIP_PLACES)")
        self._grace.ensure_after(self._retired)
        aside = 1 - self._active()
        write_directory(self._memory.vips[aside], directories[0], exact)
        record = self._memory.prefixes[aside]
        write_directory(record["directory"], directories[1], of_prefixes)
        self._records.write_lengths(record, prefixes)
        self._records.write_stretches(record, stretches, {key: index for index, key in enumerate(wide)})
        record["vip"]["key"] = 0
        for index, place in enumerate(wide.values()):
            place.write(record["vip"][index])
        self._memory.chosen_directory[0] = aside
        self._retired = self._grace.retire()


def _order(entry: VipEntry) -> tuple[object, ...]:
    return key_order(entry.key)


def _check(entries: Sequence[VipEntry]) -> None:
    seen: dict[object, list[VipKey]] = {}
    for entry in entries:
        key = entry.key
        if not 0 < key.ports.first <= key.ports.last < 1 << 16:
            raise DataPlaneError(f"VIP {key}: ports are 1 to 65535")
        rivals = seen.setdefault((key.network, key.protocol, key.precedence), [])
        if key in rivals:
            raise DataPlaneError(f"VIP {key}: given twice")
        if any(key.overlaps(rival) for rival in rivals if not key.is_exact):
            raise DataPlaneError(f"VIP {key}: another one has some of its ports")
        rivals.append(key)
