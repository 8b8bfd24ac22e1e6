"""Backends in the kernel: a tunnel of each family for each id, the whole set written aside and switched by one store.

Also the sources of the outer header.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lbnode.dataplane.addresses import pack_address
from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.values import BackendEntry, NextHop, Tunnel
from lbnode.model.ids import BackendId, IPAddress
from lbnode.model.tunnel import IPVersion

FAMILIES: tuple[IPVersion, ...] = (4, 6)
"""In the order of their sources in `struct state`."""

_ETHERNET = struct.Struct("!6s6sH")
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_IP_STARTS = {4: bytes([0x45, 0]), 6: bytes([0x60, 0])}
_TUNNEL = struct.Struct("<16s16sIIIHH16x")
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
        self._switched_in = grace.period - 1
        self._entries: tuple[BackendEntry, ...] | None = None
        active = self._tunnels(4, self._half())
        self._row_of = {number: int(active[number]["row"]) for number in self._ids(active)}
        for row in self._row_of.values():
            rows.claim(row)

    def _half(self) -> int:
        return int(self._memory.chosen_tunnels[0]) & 1

    def _tunnels(self, family: IPVersion, half: int) -> Any:
        return self._memory.tunnels[half + (self._memory.layout["TUNNELS_IPV6"] if family == 6 else 0)]

    def _ids(self, tunnels: Any) -> list[BackendId]:
        return [BackendId(int(number)) for number in np.flatnonzero(tunnels["row"])]

    def rows(self) -> dict[BackendId, int]:
        """Return each backend's row among the counters."""
        return dict(self._row_of)

    def set(self, entries: Sequence[BackendEntry], families: Collection[IPVersion]) -> None:
        """Make `entries` all that the kernel knows, at once for every packet.

        `families`: of the outer sources that there are; tunnels of others lead nowhere. A backend without next hop has
        its packets dropped, by name. Raises DataPlaneError for an id twice or an address of the wrong family,
        CapacityError when no counter is left; then nothing changes.
        """
        _check(entries)
        wanted = tuple(sorted((_usable(entry, families) for entry in entries), key=lambda entry: entry.id))
        if wanted == self._entries:
            return
        rows = {
            entry.id: self._row_of.get(entry.id) or self._rows.allocate(f"backend {entry.id}")
            for entry in wanted
        }
        self._publish(wanted, rows)
        for number in set(self._row_of) - set(rows):
            self._rows.retire(self._row_of[number])
        self._row_of, self._entries = rows, wanted

    def _publish(self, entries: Sequence[BackendEntry], rows: dict[BackendId, int]) -> None:
        """Write the tunnels that are not in use, then let them be the ones."""
        self._grace.ensure_after(self._switched_in)
        half = 1 - self._half()
        for family in FAMILIES:
            aside = self._tunnels(family, half)
            aside[np.flatnonzero(aside["row"])] = np.zeros((), aside.dtype)
            packed = b"".join(self._pack(entry, family, rows[entry.id]) for entry in entries)
            aside[[entry.id for entry in entries]] = np.frombuffer(packed, dtype=aside.dtype)
        self._memory.chosen_tunnels[0] = half
        self._switched_in = self._grace.period

    def _pack(self, entry: BackendEntry, family: IPVersion, row: int) -> bytes:
        agent = self._agent if entry.agent else 0
        tunnel = entry.tunnel(family)
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


def _usable(entry: BackendEntry, families: Collection[IPVersion]) -> BackendEntry:
    """Return the backend without the tunnels for which there is no source."""
    return replace(
        entry, ipv4=entry.ipv4 if 4 in families else None, ipv6=entry.ipv6 if 6 in families else None
    )


def _check(entries: Sequence[BackendEntry]) -> None:
    seen: set[BackendId] = set()
    for entry in entries:
        for family in FAMILIES:
            _check_family(entry.id, entry.tunnel(family), family)
        if not 0 < entry.id < 1 << 16:
            raise DataPlaneError(f"backend {entry.id}: ids are 1 to 65535")
        if entry.id in seen:
            raise DataPlaneError(f"backend {entry.id}: given twice")
        seen.add(entry.id)


def _check_family(number: BackendId, tunnel: Tunnel | None, family: IPVersion) -> None:
    if tunnel is not None and tunnel.address.version != family:
        raise DataPlaneError(f"backend {number}: {tunnel.address}: no address for its IPv{family} tunnel")
