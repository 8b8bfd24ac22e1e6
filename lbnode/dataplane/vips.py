"""VIPs in the kernel: the whole set in directories of its own, switched by one store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.prefixes import Lot, Prefix, cut, lots
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Hashing, Tables
from lbnode.dataplane.values import Count, VipEntry
from lbnode.dataplane.vip_records import Place, VipRecords, write_directory, write_places
from lbnode.model.ids import IPNetwork, PoolName
from lbnode.model.vip import VipKey


class _Held(NamedTuple):
    """What there is of one address or prefix: `exact` is what the first look finds, `wide` what the second one does."""

    lot: Lot
    keys: frozenset[VipKey]
    prefix: Prefix
    exact: tuple[Place, ...]
    wide: Mapping[VipKey, Place]


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
        found = self._found()
        for row in self._row_of.values():
            rows.claim(row)
        self._held = {lot.network: self._hold(lot) for lot in lots(found)}

    def _active(self) -> int:
        return int(self._memory.chosen_directory[0]) & 1

    def _found(self) -> list[VipEntry]:
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
        return entries

    def entries(self) -> tuple[VipEntry, ...]:
        """Return the VIPs in the kernel."""
        return tuple(entry for held in self._held.values() for entry in held.lot.own)

    def rows(self) -> dict[VipKey, int]:
        """Return each VIP's row among the counters."""
        return dict(self._row_of)

    def counters(self) -> dict[VipKey, Count]:
        """Return what each VIP has counted."""
        return self._rows.read_by(self._row_of)

    def counters_by_pool(self) -> dict[PoolName, Count]:
        """Return the sums over each pool's VIPs: a packet that is forwarded has one VIP, and a VIP one pool."""
        counts, by_pool = self.counters(), defaultdict[PoolName, list[Count]](list)
        for entry in self.entries():
            by_pool[entry.pool].append(counts[entry.key])
        return {pool: Count(*map(sum, zip(*each, strict=True))) for pool, each in by_pool.items()}

    def set(self, entries: Sequence[VipEntry]) -> None:
        """Make `entries` all the VIPs there are, at once for every packet.

        Raises CapacityError, or DataPlaneError for VIPs that nothing tells apart or an unknown pool; then nothing
        changes. Addresses whose VIPs are as before cost little.
        """
        known = set(self._row_of)
        try:
            held = {lot.network: self._as_before(lot) or self._hold(lot) for lot in lots(entries)}
            gone = self._gone(held)
            if gone is None:
                return
            self._publish(held)
        except DataPlaneError:
            self._release(self._row_of.keys() - known)
            raise
        self._release(gone)
        self._held = held

    def _as_before(self, lot: Lot) -> _Held | None:
        held = self._held.get(lot.network)
        return held if held is not None and held.lot == lot else None

    def _gone(self, held: Mapping[IPNetwork, _Held]) -> Set[VipKey] | None:
        """Which VIPs are not in `held` any more; None when it is all that is held now."""
        changed = [network for network, each in self._held.items() if held.get(network) is not each]
        if not changed and len(held) == len(self._held):
            return None
        left = {key for network in changed if network in held for key in held[network].keys}
        return {key for network in changed for key in self._held[network].keys} - left

    def _release(self, keys: Collection[VipKey]) -> None:
        for key in keys:
            self._rows.retire(self._row_of.pop(key))

    def renew(self) -> None:
        """Write the VIPs again, after what they copy of their pools has changed."""
        if self._held:
            held = {network: self._hold(each.lot) for network, each in self._held.items()}
            self._publish(held)
            self._held = held

    def _hold(self, lot: Lot) -> _Held:
        _check(lot.own)
        around = {entry.key: entry.pool for entry in lot.around}
        own = {entry.key: entry.pool for entry in lot.own}
        pools = around | own
        prefix = cut(lot, {pool for pool in pools.values() if self._hashing(pool).by_source})
        exact = [self._records.exact(key, *self._of(key, pool)) for key, pool in own.items() if key.is_exact]
        fragments = [
            self._records.fragments(lot.network.network_address, key, *self._of(key, pools[key]))
            for key in prefix.fragments.values()
        ]
        wide = {
            key: self._records.wide(key, *self._of(key, pool))
            for key, pool in own.items()
            if not key.is_exact
        }
        return _Held(lot, frozenset(own), prefix, (*exact, *fragments), wide)

    def _hashing(self, pool: PoolName) -> Hashing:
        return self._tables.hashing(self._tables.number(pool))

    def _of(self, key: VipKey, pool: PoolName) -> tuple[int, int, Hashing]:
        """Number and hashing of the pool, and the VIP's row between them."""
        if key not in self._row_of:
            self._row_of[key] = self._rows.allocate(f"VIP {key}")
        return self._tables.number(pool), self._row_of[key], self._hashing(pool)

    def _publish(self, held: Mapping[IPNetwork, _Held]) -> None:
        """Write the directories that are not in use, then let them be the ones."""
        prefixes = [each.prefix for each in held.values()]
        exact = [place for each in held.values() for place in each.exact]
        wide = {key: place for each in held.values() for key, place in each.wide.items()}
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
        write_places(record["vip"], range(len(wide)), list(wide.values()))
        self._memory.chosen_directory[0] = aside
        self._retired = self._grace.retire()


def _check(entries: Sequence[VipEntry]) -> None:
    """Raise DataPlaneError when VIPs of one address or prefix are nothing that packets tell apart."""
    seen: set[VipKey] = set()
    for key in (entry.key for entry in entries):
        if not 0 < key.ports.first <= key.ports.last < 1 << 16:
            raise DataPlaneError(f"VIP {key}: ports are 1 to 65535")
        if key in seen:
            raise DataPlaneError(f"VIP {key}: given twice")
        if not key.is_exact and any(
            key.overlaps(rival) and key.precedence == rival.precedence for rival in seen
        ):
            raise DataPlaneError(f"VIP {key}: another one has some of its ports")
        seen.add(key)
