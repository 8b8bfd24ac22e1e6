"""Backends in the kernel: a tunnel of each family for each id, the whole set written aside and switched by one store.

Also the sources of the outer header.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple

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
_CONSTANT_SUM = sum(struct.unpack("<3H", bytes([0x45, 0, 0x40, 0, 64, 47])))
"""Of the outer IPv4 header: version and length; do not fragment; TTL 64, protocol GRE."""
_UNLIMITED = 0xFFFF


class _Written(NamedTuple):
    """A backend as it lies in the map, with its row among the counters."""

    entry: BackendEntry
    row: int

    def is_as(self, other: _Written | None) -> bool:
        """Whether nothing has to be written where `other` is."""
        return other is not None and other.entry is self.entry and other.row == self.row


class Backends:
    """Every backend that this node may send to."""

    def __init__(self, memory: NodeMemory, grace: Grace, rows: CounterRows) -> None:
        self._memory = memory
        self._grace = grace
        self._rows = rows
        self._agent = memory.layout["TUNNEL_AGENT"]
        self._known = memory.layout["TUNNEL_NEXT_HOP"]
        self._switched_in = grace.period - 1
        self._families: Collection[IPVersion] | None = None
        self._written: dict[int, dict[BackendId, _Written]] = {}
        """What each half holds, once this daemon has written it."""
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

    def counters(self) -> dict[BackendId, Count]:
        """Return what was sent to each backend."""
        return self._rows.read_by(self._row_of)

    def set(self, entries: Sequence[BackendEntry], families: Collection[IPVersion]) -> None:
        """Make `entries` all that the kernel knows, at once for every packet.

        `families`: of the outer sources that there are; tunnels of others lead nowhere. A backend without next hop has
        its packets dropped, by name. Raises DataPlaneError for an id twice or an address of the wrong family,
        CapacityError when no counter is left; then nothing changes.
        """
        known = self._written.get(self._half(), {}) if families == self._families else {}
        self._families = families
        wanted = {entry.id: _usable(entry, families, known.get(entry.id)) for entry in entries}
        _check(entries, wanted, known)
        if wanted.keys() == known.keys() and all(known[number].entry is wanted[number] for number in known):
            return
        rows = self._rows_for(wanted.keys())
        self._publish({number: _Written(entry, rows[number]) for number, entry in wanted.items()})
        for number in self._row_of.keys() - rows.keys():
            self._rows.retire(self._row_of[number])
        self._row_of = rows

    def _rows_for(self, wanted: Set[BackendId]) -> dict[BackendId, int]:
        rows = {number: row for number, row in self._row_of.items() if number in wanted}
        for number in sorted(wanted - rows.keys()):
            rows[number] = self._rows.allocate(f"backend {number}")
        return rows

    def _publish(self, wanted: dict[BackendId, _Written]) -> None:
        """Write what differs in the tunnels that are not in use, then let them be the ones."""
        self._grace.ensure_after(self._switched_in)
        half = 1 - self._half()
        written = self._written.get(half)
        before = written or {}
        due = [each for number, each in wanted.items() if not each.is_as(before.get(number))]
        for family in FAMILIES:
            aside = self._tunnels(family, half)
            gone = self._ids(aside) if written is None else sorted(written.keys() - wanted.keys())
            aside[gone] = np.zeros((), aside.dtype)
            packed = b"".join(self._pack(each.entry, family, each.row) for each in due)
            aside[[each.entry.id for each in due]] = np.frombuffer(packed, dtype=aside.dtype)
        self._memory.chosen_tunnels[0] = half
        self._switched_in = self._grace.period
        self._written[half] = wanted

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


def _usable(entry: BackendEntry, families: Collection[IPVersion], known: _Written | None) -> BackendEntry:
    """Return the backend without the tunnels for which there is no source; the very one that is known if it is that."""
    if known is not None and known.entry is entry:
        return entry
    lost = [each for each in FAMILIES if each not in families and entry.tunnel(each) is not None]
    if lost:
        entry = replace(entry, ipv4=None if 4 in lost else entry.ipv4, ipv6=None if 6 in lost else entry.ipv6)
    return known.entry if known is not None and known.entry == entry else entry


def _check(
    entries: Sequence[BackendEntry],
    wanted: Mapping[BackendId, BackendEntry],
    known: Mapping[BackendId, _Written],
) -> None:
    """Look at what is new in `entries`; nothing may be there twice."""
    if len(wanted) != len(entries):
        (twice, _), *_ = Counter(entry.id for entry in entries).most_common(1)
        raise DataPlaneError(f"backend {twice}: given twice")
    for entry in entries:
        if entry.id in known and known[entry.id].entry is entry:
            continue
        for family in FAMILIES:
            _check_family(entry.id, entry.tunnel(family), family)
        if not 0 < entry.id < 1 << 16:
            raise DataPlaneError(f"backend {entry.id}: ids are 1 to 65535")


def _check_family(number: BackendId, tunnel: Tunnel | None, family: IPVersion) -> None:
    if tunnel is not None and tunnel.address.version != family:
        raise DataPlaneError(f"backend {number}: {tunnel.address}: no address for its IPv{family} tunnel")
