"""Backends in the kernel: a tunnel for each id, the whole set written aside and switched by one store.

Also the sources of the outer header.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

import numpy as np

from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.values import BackendEntry, NextHop
from lbnode.model.ids import BackendId, IPAddress

_ETHERNET = struct.Struct("!6s6sH")
_IPV4_START = bytes([0x45, 0])
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
        self._row_of = {number: int(self._active()[number]["row"]) for number in self._ids(self._active())}
        for row in self._row_of.values():
            rows.claim(row)

    def _active(self) -> Any:
        return self._memory.tunnels[int(self._memory.chosen_tunnels[0]) & 1]

    def _ids(self, tunnels: Any) -> list[BackendId]:
        return [BackendId(int(number)) for number in np.flatnonzero(tunnels["row"])]

    def rows(self) -> dict[BackendId, int]:
        """Return each backend's row among the counters."""
        return dict(self._row_of)

    def set(self, entries: Sequence[BackendEntry]) -> None:
        """Make `entries` all that the kernel knows, at once for every packet.

        A backend without next hop has its packets dropped, by name. Raises DataPlaneError for an id twice or an
        address that is not IPv4, CapacityError when no counter is left; then nothing changes.
        """
        wanted = tuple(sorted(entries, key=lambda entry: entry.id))
        if wanted == self._entries:
            return
        _check(wanted)
        rows = {
            entry.id: self._row_of.get(entry.id) or self._rows.allocate(f"backend {entry.id}")
            for entry in wanted
        }
        self._publish({entry.id: self._pack(entry, rows[entry.id]) for entry in wanted})
        for number in set(self._row_of) - set(rows):
            self._rows.retire(self._row_of[number])
        self._row_of, self._entries = rows, wanted

    def _pack(self, entry: BackendEntry, row: int) -> bytes:
        agent = self._agent if entry.agent else 0
        if entry.ipv4 is None or entry.ipv4.next_hop is None:
            return _TUNNEL.pack(bytes(16), bytes(16), 0, 0, 0, row, agent)
        return pack_tunnel(entry.ipv4.address, entry.ipv4.next_hop, row, agent | self._known)

    def _publish(self, packed: dict[BackendId, bytes]) -> None:
        """Write the tunnels that are not in use, then let them be the ones."""
        self._grace.ensure_after(self._switched_in)
        half = 1 - (int(self._memory.chosen_tunnels[0]) & 1)
        aside = self._memory.tunnels[half]
        aside[np.flatnonzero(aside["row"])] = np.zeros((), aside.dtype)
        aside[list(packed)] = np.frombuffer(b"".join(packed.values()), dtype=aside.dtype)
        self._memory.chosen_tunnels[0] = half
        self._switched_in = self._grace.period


def set_sources(memory: NodeMemory, addresses: Sequence[IPAddress]) -> None:
    """Spread outer sources over the buckets: bucket modulo the number of places, filled by turns."""
    if not addresses:
        raise DataPlaneError("outer source: no address")
    places = min(1 << (len(addresses) - 1).bit_length(), memory.layout["SOURCE_PLACES"])
    if len(addresses) > places:
        raise CapacityError(f"outer source: {len(addresses)} addresses, the node's program holds {places}")
    for place in range(places):
        address = _ipv4(addresses[place % len(addresses)], "outer source")
        memory.sources["word"][place] = (0, 0, 0, int.from_bytes(address.packed, "little"))
    memory.control["source_mask"] = places - 1


def pack_tunnel(address: IPAddress, next_hop: NextHop, row: int, flags: int) -> bytes:
    """Return struct tunnel: an Ethernet header with the start of the outer IPv4 header, and the rest."""
    ipv4 = _ipv4(address, "backend")
    ethernet = _ETHERNET.pack(next_hop.destination_mac, next_hop.source_mac, 0x0800) + _IPV4_START
    total = _CONSTANT_SUM + sum(struct.unpack("<2H", ipv4.packed))
    mtu = min(next_hop.mtu or _UNLIMITED, _UNLIMITED)
    return _TUNNEL.pack(ethernet, ipv4.packed.rjust(16, b"\0"), total, next_hop.ifindex, mtu, row, flags)


def _ipv4(address: IPAddress, what: str) -> IPv4Address:
    if not isinstance(address, IPv4Address):
        raise DataPlaneError(f"{what} {address}: only IPv4 tunnels can be used yet")
    return address


def _check(entries: Sequence[BackendEntry]) -> None:
    seen: set[BackendId] = set()
    for entry in entries:
        if entry.ipv4 is not None:
            _ipv4(entry.ipv4.address, f"backend {entry.id}")
        if not 0 < entry.id < 1 << 16:
            raise DataPlaneError(f"backend {entry.id}: ids are 1 to 65535")
        if entry.id in seen:
            raise DataPlaneError(f"backend {entry.id}: given twice")
        seen.add(entry.id)
