"""Backends in the kernel: id → one word → the tunnel to it. Sources of the outer header."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np

from lbnode.dataplane.arena import Arena
from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.values import BackendEntry, NextHop
from lbnode.model.ids import BackendId, IPAddress

_ETHERNET = struct.Struct("!6s6sH")
_IPV4_START = bytes([0x45, 0])
_TUNNEL = struct.Struct("<16s16sIII20x")
_CONSTANT_SUM = sum(struct.unpack("<3H", bytes([0x45, 0, 0x40, 0, 64, 47])))
"""Of the outer IPv4 header: version and length; do not fragment; TTL 64, protocol GRE."""
_UNLIMITED = 0xFFFF


@dataclass(frozen=True, slots=True)
class BackendWord:
    """struct backend."""

    tunnel: int
    row: int
    flags: int

    @classmethod
    def of(cls, word: int) -> BackendWord:
        return cls(word & 0xFFFFFFFF, word >> 32 & 0xFFFF, word >> 48)

    def __int__(self) -> int:
        return self.tunnel | self.row << 32 | self.flags << 48


class Backends:
    """Every backend that this node may send to. Tunnels are written aside; a backend's word switches to them."""

    def __init__(self, memory: NodeMemory, grace: Grace, rows: CounterRows) -> None:
        self._memory = memory
        self._grace = grace
        self._rows = rows
        self._agent = memory.layout["BACKEND_AGENT"]
        self._arena = Arena(1, memory.layout["TUNNEL_PLACES"])
        self._entries: dict[BackendId, BackendEntry] = {}
        for number in self.ids():
            word = self._word(number)
            rows.claim(word.row)
            if word.tunnel:
                self._arena.claim(word.tunnel, 1)

    def _word(self, number: int) -> BackendWord:
        return BackendWord.of(int(self._memory.backends[number]))

    def ids(self) -> list[BackendId]:
        """Return the ids that the kernel knows."""
        return [BackendId(int(number)) for number in np.flatnonzero(self._memory.backends)]

    def rows(self) -> dict[BackendId, int]:
        """Return each backend's row among the counters."""
        return {number: self._word(number).row for number in self.ids()}

    def set(self, entries: Sequence[BackendEntry]) -> None:
        """Make `entries` all that the kernel knows. A backend without next hop has its packets dropped, by name.

        Raises DataPlaneError for an id twice or an address that is not IPv4, before anything changes; CapacityError.
        """
        wanted = _by_id(entries)
        for number in set(self.ids()) - set(wanted):
            self._remove(number)
        for number, entry in wanted.items():
            if self._entries.get(number) != entry:
                self._write(entry)
        self._entries = wanted

    def _write(self, entry: BackendEntry) -> None:
        before = self._word(entry.id)
        tunnel = self._tunnel(entry.address, entry.next_hop, before.tunnel) if entry.next_hop else 0
        row = before.row or self._rows.allocate(f"backend {entry.id}")
        self._memory.backends[entry.id] = int(BackendWord(tunnel, row, self._agent if entry.agent else 0))
        if before.tunnel and before.tunnel != tunnel:
            self._arena.retire(before.tunnel, self._grace.period)

    def _tunnel(self, address: IPAddress, next_hop: NextHop, before: int) -> int:
        """Return the index of a tunnel that says this: the one before when it does already."""
        packed = pack_tunnel(address, next_hop)
        if before and self._memory.tunnels[before].tobytes() == packed:
            return before
        place = self._allocate()
        self._memory.tunnels[place] = np.frombuffer(packed, dtype=self._memory.tunnels.dtype)[0]
        return place

    def _allocate(self) -> int:
        self._arena.reclaim(self._grace.period)
        place = self._arena.allocate(1)
        if place is None and self._arena.has_retired:
            self._grace.wait()
            self._arena.reclaim(self._grace.period)
            place = self._arena.allocate(1)
        if place is None:
            places = self._memory.layout["TUNNEL_PLACES"]
            raise CapacityError(f"backends: the node's program holds {places - 1} tunnels (TUNNEL_PLACES)")
        return place

    def _remove(self, number: BackendId) -> None:
        before = self._word(number)
        self._memory.backends[number] = 0
        self._rows.retire(before.row)
        if before.tunnel:
            self._arena.retire(before.tunnel, self._grace.period)
        self._entries.pop(number, None)


def set_sources(memory: NodeMemory, addresses: Sequence[IPAddress]) -> None:
    """Spread outer sources over the buckets: bucket modulo the number of places, filled by turns."""
    if not addresses:
        raise DataPlaneError("outer source: no address")
    places = min(1 << (len(addresses) - 1).bit_length(), memory.layout["SOURCE_PLACES"])
    if len(addresses) > places:
        raise CapacityError(f"outer source: {len(addresses)} addresses, the node's program holds {places}")
    for place in range(places):
        address = _ipv4(addresses[place % len(addresses)], "outer source")
        memory.sources["word"][place] = _words(address)
    memory.control["source_mask"] = places - 1


def pack_tunnel(address: IPAddress, next_hop: NextHop) -> bytes:
    """Return struct tunnel: an Ethernet header with the start of the outer IPv4 header, and the rest."""
    ipv4 = _ipv4(address, "backend")
    ethernet = _ETHERNET.pack(next_hop.destination_mac, next_hop.source_mac, 0x0800) + _IPV4_START
    total = _CONSTANT_SUM + checksum_part(ipv4)
    mtu = next_hop.mtu or _UNLIMITED
    return _TUNNEL.pack(ethernet, ipv4.packed.rjust(16, b"\0"), total, next_hop.ifindex, min(mtu, _UNLIMITED))


def checksum_part(address: IPv4Address) -> int:
    """Return the sum of the address's two 16-bit words as a little-endian host loads them."""
    low, high = struct.unpack("<2H", address.packed)
    return int(low + high)


def _words(address: IPv4Address) -> tuple[int, int, int, int]:
    return (0, 0, 0, int.from_bytes(address.packed, "little"))


def _ipv4(address: IPAddress, what: str) -> IPv4Address:
    if not isinstance(address, IPv4Address):
        raise DataPlaneError(f"{what} {address}: only IPv4 tunnels can be used yet")
    return address


def _by_id(entries: Sequence[BackendEntry]) -> dict[BackendId, BackendEntry]:
    wanted: dict[BackendId, BackendEntry] = {}
    for entry in entries:
        _ipv4(entry.address, f"backend {entry.id}")
        if not 0 < entry.id < 1 << 16:
            raise DataPlaneError(f"backend {entry.id}: ids are 1 to 65535")
        if entry.id in wanted:
            raise DataPlaneError(f"backend {entry.id}: given twice")
        wanted[entry.id] = entry
    return wanted
