"""The node's program in Python: frame in; outcome, verdict and frame out. Pure.

Written from design.md §3, §4 and §7 and the RFCs, not from the C; `tests/bpf` runs both over the same frames.
It is what `lbnode/bpf` is checked against, so it prefers being plain to being fast.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.flow_model import Circumstances, FlowKey, FlowModel, Listed
from lbnode.dataplane.values import BackendEntry, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import HashMode, Protocol
from lbnode.model.ids import BackendId, PoolName
from ring.bucket import Flow, bucket_of

ETHERNET_SIZE = 14
IPV4_SIZE = 20
SMALLEST = {Protocol.TCP: 20, Protocol.UDP: 8}
ICMP = 1
GRE = 47
ETHERTYPE_IPV4 = 0x0800
TTL = 64
DO_NOT_FRAGMENT = 0x4000
MORE_OR_OFFSET = 0x3FFF
KEY_PRESENT = 0x2000
SYN, ACK = 0x02, 0x10
AMPLE_ROOM = 192
"""Bytes before a frame that every driver with native XDP leaves."""


class Verdict(IntEnum):
    """What an XDP program returns (enum xdp_action)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a frame. `backend` and `ifindex`: to whom it goes, and by which interface.

    `notes`: what the flow table did. `vip` and `bucket`: whose packet it is and where its pool's table was asked,
    also when it is dropped.
    """

    outcome: str
    verdict: Verdict
    frame: bytes
    backend: BackendId | None = None
    notes: tuple[str, ...] = ()
    vip: VipEntry | None = None
    bucket: int | None = None
    ifindex: int = 0


@dataclass(frozen=True, slots=True)
class Packet:
    """An IPv4 packet's fields as far as they matter; `data` is what the IP header says that it spans."""

    data: bytes
    source: IPv4Address
    destination: IPv4Address
    protocol: int
    tos: int
    fragment: bool
    header: int

    @classmethod
    def parse(cls, data: bytes) -> Packet | None:
        """Return the packet, None without a proper IPv4 header; `data` may end before the packet does."""
        if len(data) < IPV4_SIZE:
            return None
        first, tos, size, _id, fragment, _ttl, protocol, _sum, source, destination = struct.unpack_from(
            "!BBHHHBBH4s4s", data
        )
        header = (first & 0xF) * 4
        if first >> 4 != 4 or header < IPV4_SIZE or size < header:
            return None
        return cls(
            data[:size] if size <= len(data) else b"",
            IPv4Address(source),
            IPv4Address(destination),
            protocol,
            tos,
            bool(fragment & MORE_OR_OFFSET),
            header,
        )

    @property
    def transport(self) -> bytes:
        """What follows the IP header."""
        return self.data[self.header :]


@dataclass(frozen=True, slots=True)
class NodeModel:
    """A node: tables in use, backends, VIPs, outer sources (the bucket chooses).

    `unready`: tables that wait for a switch in pools that have none yet. `recorded`: by pool, the buckets that the
    table on stage gives to another owner. Pools with a flow table make the node remember; all else about it never
    changes.
    """

    tables: Sequence[PoolTable]
    backends: Sequence[BackendEntry]
    vips: Sequence[VipEntry]
    sources: Sequence[IPv4Address]
    ingress: int = 1
    own_mac: bytes = b""
    """Of the interface `ingress`; empty: frames for every MAC are taken."""
    recorded: Mapping[PoolName, NDArray[np.bool_]] = field(default_factory=dict)
    flows: FlowModel = field(default_factory=FlowModel)
    unready: Sequence[PoolTable] = ()
    _pools: dict[PoolName, PoolTable] = field(init=False, default_factory=dict)
    _backends: dict[BackendId, BackendEntry] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._pools.update({table.pool: table for table in self.tables})
        self._backends.update({entry.id: entry for entry in self.backends})

    def process(self, frame: bytes, room: int = AMPLE_ROOM) -> Result:
        """Return what the node does with `frame`, which came in by the interface `ingress`.

        `room`: bytes that the driver leaves before it.
        """
        if len(frame) < ETHERNET_SIZE or frame[12:14] != struct.pack("!H", ETHERTYPE_IPV4):
            return _left("pass_not_ip", frame)
        if self.own_mac and frame[:6] != self.own_mac:
            return _left("pass_not_ours", frame)
        packet = Packet.parse(frame[ETHERNET_SIZE:])
        if packet is None:
            return _left("pass_malformed", frame)
        due = _fault(packet)
        if due:
            return self._without_vip(packet, due, frame)
        vip = self._vip(packet)
        if vip is None:
            return self._without_vip(packet, "drop_fragment" if packet.fragment else "drop_wrong_port", frame)
        result = self._forward(packet, vip, frame)
        if len(result.frame) - len(frame) > room:
            result = replace(_left("drop_no_headroom", frame), notes=result.notes, bucket=result.bucket)
        return replace(result, vip=vip)

    def _vip(self, packet: Packet) -> VipEntry | None:
        here = [
            vip for vip in self.vips if (vip.address, vip.protocol) == (packet.destination, packet.protocol)
        ]
        if packet.fragment:
            return self._vip_of_fragments(here)
        port = struct.unpack_from("!H", packet.transport, 2)[0]
        return next((vip for vip in here if vip.port == port), None)

    def _vip_of_fragments(self, candidates: Sequence[VipEntry]) -> VipEntry | None:
        """A fragment may name no port: its VIP is known when all candidates agree without one."""
        pools = {vip.pool for vip in candidates}
        if len(pools) != 1:
            return None
        known = [*self.tables, *self.unready]
        if not any(table.pool in pools and table.mode is HashMode.SOURCE for table in known):
            return None
        return min(candidates, key=lambda vip: vip.port)

    def _without_vip(self, packet: Packet, due: str, frame: bytes) -> Result:
        here = [vip for vip in self.vips if vip.address == packet.destination]
        if not here:
            return _left("pass_not_vip", frame)
        return _left("pass_wrong_port" if any(vip.wrong_port_pass for vip in here) else due, frame)

    def _forward(self, packet: Packet, vip: VipEntry, frame: bytes) -> Result:
        table = self._pools.get(vip.pool)
        if table is None:
            return _left("drop_no_table", frame)
        bucket = self.bucket(packet, table)
        listed = Listed(int(table.owners[bucket]), int(table.first[bucket]), int(table.second[bucket]))
        notes: tuple[str, ...] = ()
        recorded = self.recorded.get(table.pool)
        is_recorded = recorded is not None and bool(recorded[bucket])
        if table.flow_table or is_recorded:
            listed, notes = self._follow(packet, table, listed, is_recorded)
        return replace(self._send(packet, table, bucket, listed, frame), notes=notes, bucket=bucket)

    def _send(self, packet: Packet, table: PoolTable, bucket: int, listed: Listed, frame: bytes) -> Result:
        backend = self._backends.get(BackendId(listed.owner))
        if backend is None:
            return _left("drop_no_backend", frame)
        tunnel = backend.tunnel(table.tunnel)
        if tunnel is None or tunnel.next_hop is None:
            return _left("drop_no_next_hop", frame)
        hop = tunnel.next_hop
        key = _key(packet, listed) if backend.agent else b""
        outer = self._outer(packet, table, bucket, tunnel, key)
        if len(outer) + len(packet.data) > (hop.mtu or 0xFFFF):
            return _left("drop_too_big", frame)
        ethernet = hop.destination_mac + hop.source_mac + frame[12:14]
        verdict = Verdict.TX if hop.ifindex == self.ingress else Verdict.REDIRECT
        outcome = "forwarded_keyed" if key else "forwarded"
        return Result(
            outcome, verdict, ethernet + outer + frame[ETHERNET_SIZE:], backend.id, ifindex=hop.ifindex
        )

    def _follow(
        self, packet: Packet, table: PoolTable, listed: Listed, is_recorded: bool
    ) -> tuple[Listed, tuple[str, ...]]:
        owner = self._backends.get(BackendId(listed.owner))
        around = Circumstances(
            packet.protocol,
            _opens(packet),
            owner is not None and owner.agent,
            table.flow_table and listed.first != 0,
            is_recorded,
            frozenset(table.failed if table.flow_table else ()),
        )
        return self.flows.follow(_flow(packet, table), listed, around)

    def bucket(self, packet: Packet, table: PoolTable) -> int:
        """Return the packet's bucket. A fragment has no ports; its pool does not look at them."""
        ports = (0, 0) if packet.fragment else struct.unpack_from("!HH", packet.transport)
        flow = Flow.between(packet.source, ports[0], packet.destination, ports[1], packet.protocol)
        return bucket_of(table.keys, table.algorithm.value, table.mode.value, flow, table.size)

    def _outer(self, packet: Packet, table: PoolTable, bucket: int, tunnel: Tunnel, key: bytes) -> bytes:
        gre = struct.pack("!HH", KEY_PRESENT if key else 0, ETHERTYPE_IPV4) + key
        assert isinstance(tunnel.address, IPv4Address)
        return (
            ipv4_header(
                self._source(bucket),
                tunnel.address,
                IPV4_SIZE + len(gre) + len(packet.data),
                table.stamp,
                packet.tos & 0xFC,
            )
            + gre
        )

    def _source(self, bucket: int) -> IPv4Address:
        """Sources fill a power of two of places, by turns."""
        places = 1 << (len(self.sources) - 1).bit_length()
        return self.sources[bucket % places % len(self.sources)]


def ipv4_header(source: IPv4Address, destination: IPv4Address, size: int, stamp: int, tos: int) -> bytes:
    """Return the outer header (RFC 791): never to be fragmented, the stamp as its ID (RFC 6864)."""
    start = struct.pack("!BBHHHBBH", 0x45, tos, size, stamp, DO_NOT_FRAGMENT, TTL, GRE, 0)
    parts = start + source.packed + destination.packed
    return parts[:10] + struct.pack("!H", checksum(parts)) + parts[12:]


def checksum(header: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _left(outcome: str, frame: bytes) -> Result:
    return Result(outcome, Verdict.PASS if outcome.startswith("pass") else Verdict.DROP, frame)


def _fault(packet: Packet) -> str:
    """Return why a packet for one of our addresses could not be served by any VIP, or an empty string."""
    if not packet.data:
        return "drop_truncated"
    if packet.fragment:
        return ""
    if packet.protocol not in SMALLEST:
        return "drop_icmp" if packet.protocol == ICMP else "drop_protocol"
    return "drop_truncated" if len(packet.transport) < SMALLEST[Protocol(packet.protocol)] else ""


def _key(packet: Packet, listed: Listed) -> bytes:
    """Alternates as GRE key; none in a SYN: a new flow belongs to the owner."""
    if not listed.first or _opens(packet):
        return b""
    return struct.pack("!HH", listed.first, listed.second)


def _flow(packet: Packet, table: PoolTable) -> FlowKey:
    portless = packet.fragment or (table.mode is HashMode.SOURCE and packet.protocol == Protocol.UDP)
    ports = bytes(4) if portless else packet.transport[:4]
    return packet.source.packed, packet.destination.packed, ports, packet.protocol


def _opens(packet: Packet) -> bool:
    """SYN without ACK. A fragment is not looked into."""
    if packet.protocol != Protocol.TCP or packet.fragment:
        return False
    return packet.transport[13] & (SYN | ACK) == SYN
