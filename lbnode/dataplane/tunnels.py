"""Backends in the kernel: a tunnel of each family for each id, the whole set written aside and switched by one store.

Also the sources of the outer header.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from lbnode.dataplane.addresses import pack_address
from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.values import BackendEntry, Count, NextHop, Tunnel
from lbnode.model.ids import BackendId, IPAddress
from lbnode.model.tunnel import IPVersion

FAMILIES: tuple[IPVersion, ...] = (4, 6)
"""In the order of their sources in `struct state`."""

_ETHERNET = struct.Struct("!6s6sH")
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_IP_STARTS = {4: bytes([0x45, 0]), 6: bytes([0x60, 0])}
_TUNNEL = struct.Struct("<16s16sIIIHH16x")
_NOTHING = bytes(_TUNNEL.size)
_CONSTANT_SUM = sum(struct.unpack("<3H", bytes([0x45, 0, 0x40, 0, 64, 47])))
"""Of the outer IPv4 header: version and length; do not fragment; TTL 64, protocol GRE."""
_UNLIMITED = 0xFFFF


class Backends:
    """Every backend that this node may send to."""

    def __init__(self, memory: NodeMemory, grace: Grace, rows: CounterRows) -> None:
        self._memory = memory
        self._grace = grace
        self._rows = rows
        self._agent = memory.layout["TUNNEL_AGENT"]
        self._known = memory.layout["TUNNEL_NEXT_HOP"]
        self._families: Collection[IPVersion] = ()
        self._entries: dict[BackendId, BackendEntry] = {}
        """What this daemon has written; another one's is not known."""
        active = self._tunnels(4, self._half())
        self._row_of = {number: int(active[number]["row"]) for number in self._ids(active)}
        for row in self._row_of.values():
            rows.claim(row)
        self._behind: Set[BackendId] = set(self._ids(self._tunnels(4, 1 - self._half())))
        """In what the half that is not in use may differ from the other one."""
        self._retired = 0

    def _half(self) -> int:
        return int(self._memory.chosen_tunnels[0]) & 1

    def _tunnels(self, family: IPVersion, half: int) -> Any:
        return self._memory.tunnels[half + (self._memory.layout["TUNNELS_IPV6"] if family == 6 else 0)]

    def _ids(self, tunnels: Any) -> list[BackendId]:
        return [BackendId(int(number)) for number in np.flatnonzero(tunnels["row"])]

    def counters(self) -> dict[BackendId, Count]:
        """Return what was sent to each backend."""
        return self._rows.read_by(self._row_of)

    def set(self, entries: Sequence[BackendEntry], families: Collection[IPVersion]) -> None:
        """Make `entries` all that the kernel knows, at once for every packet.

        `families`: of the outer sources that there are; tunnels of others lead nowhere. A backend without next hop has
        its packets dropped, by name. Raises DataPlaneError for an id twice or an address of the wrong family,
        CapacityError when no counter is left; then nothing changes. An entry that is the very one of the last time
        costs next to nothing.
        """
        wanted = {entry.id: entry for entry in entries}
        if len(wanted) != len(entries):
            (twice, _), *_ = Counter(entry.id for entry in entries).most_common(1)
            raise DataPlaneError(f"backend {twice}: given twice")
        known = self._entries if families == self._families else {}
        changed = [each for each in entries if (old := known.get(each.id)) is not each and old != each]
        gone = self._row_of.keys() - wanted.keys()
        for entry in changed:
            _check(entry)
        if changed or gone:
            rows = self._rows_for(changed)
            self._publish({entry.id for entry in changed} | gone, wanted, self._row_of | rows, families)
            for number in gone:
                self._rows.retire(self._row_of.pop(number))
            self._row_of |= rows
        self._entries, self._families = wanted, families

    def _rows_for(self, entries: Iterable[BackendEntry]) -> dict[BackendId, int]:
        rows: dict[BackendId, int] = {}
        try:
            for number in sorted(entry.id for entry in entries if entry.id not in self._row_of):
                rows[number] = self._rows.allocate(f"backend {number}")
        except CapacityError:
            for row in rows.values():
                self._rows.retire(row)
            raise
        return rows

    def _publish(
        self,
        due: Set[BackendId],
        wanted: Mapping[BackendId, BackendEntry],
        rows: Mapping[BackendId, int],
        families: Collection[IPVersion],
    ) -> None:
        """Write what differs in the tunnels that are not in use, then let them be the ones."""
        self._grace.ensure_after(self._retired)
        half = 1 - self._half()
        written = sorted(due | self._behind)
        for family in FAMILIES:
            packed = (
                self._pack(wanted[number], family, rows[number], families) if number in wanted else _NOTHING
                for number in written
            )
            aside = self._tunnels(family, half)
            aside[written] = np.frombuffer(b"".join(packed), dtype=aside.dtype)
        self._memory.chosen_tunnels[0] = half
        self._behind = due
        self._retired = self._grace.retire()

    def _pack(
        self, entry: BackendEntry, family: IPVersion, row: int, families: Collection[IPVersion]
    ) -> bytes:
        agent = self._agent if entry.agent else 0
        tunnel = entry.tunnel(family) if family in families else None
        if tunnel is None or tunnel.next_hop is None:
            return _TUNNEL.pack(bytes(16), bytes(16), 0, 0, 0, row, agent)
        return pack_tunnel(tunnel.address, tunnel.next_hop, row, agent | self._known)


def set_sources(memory: NodeMemory, addresses: Sequence[IPAddress]) -> None:
    """Spread the outer sources of each family over the buckets: bucket modulo the number of places, filled by turns."""
    if not addresses:
        raise DataPlaneError("outer source: no address")
    by_family = [[each for each in addresses if each.version == family] for family in FAMILIES]
    most = memory.layout["SOURCE_PLACES"]
    for each in by_family:
        if len(each) > most:
            raise CapacityError(f"outer source: {len(each)} addresses, the node's program holds {most}")
    for which, each in enumerate(by_family):
        _set_sources(memory, which, each)


def _set_sources(memory: NodeMemory, which: int, addresses: Sequence[IPAddress]) -> None:
    places = 1 << (len(addresses) - 1).bit_length() if addresses else 1
    for place in range(places):
        packed = pack_address(addresses[place % len(addresses)]) if addresses else bytes(16)
        memory.sources["word"][which, place] = np.frombuffer(packed, dtype="<u4")
    memory.control["source_mask"][which] = places - 1


def source_families(memory: NodeMemory) -> frozenset[IPVersion]:
    """Return the families of which there is an outer source."""
    return frozenset(
        family for which, family in enumerate(FAMILIES) if memory.sources["word"][which, 0].any()
    )


def pack_tunnel(address: IPAddress, next_hop: NextHop, row: int, flags: int) -> bytes:
    """Return struct tunnel: an Ethernet header with the start of the outer IP header, and the rest."""
    family = address.version
    ethernet = _ETHERNET.pack(next_hop.destination_mac, next_hop.source_mac, _ETHERTYPES[family])
    total = _CONSTANT_SUM + sum(struct.unpack("<2H", address.packed)) if family == 4 else 0
    mtu = min(next_hop.mtu or _UNLIMITED, _UNLIMITED)
    return _TUNNEL.pack(
        ethernet + _IP_STARTS[family], pack_address(address), total, next_hop.ifindex, mtu, row, flags
    )


def _check(entry: BackendEntry) -> None:
    if not 0 < entry.id < 1 << 16:
        raise DataPlaneError(f"backend {entry.id}: ids are 1 to 65535")
    for family in FAMILIES:
        _check_family(entry.id, entry.tunnel(family), family)


def _check_family(number: BackendId, tunnel: Tunnel | None, family: IPVersion) -> None:
    if tunnel is not None and tunnel.address.version != family:
        raise DataPlaneError(f"backend {number}: {tunnel.address}: no address for its IPv{family} tunnel")
