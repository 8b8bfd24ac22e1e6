"""The node's program in Python: frame in; outcome, verdict and frame out. Pure.

Written from design.md §3, §4 and §7 and the RFCs, not from the C; `tests/bpf` runs both over the same frames.
It is what `lbnode/bpf` is checked against, so it prefers being plain to being fast.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane import icmp_model
from lbnode.dataplane.flow_model import Circumstances, FlowKey, FlowModel, Listed
from lbnode.dataplane.fragment_model import FragmentModel
from lbnode.dataplane.icmp_model import ICMP_SIZE, Kind
from lbnode.dataplane.packet_model import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    GRE,
    ICMP,
    IPV4_SIZE,
    Fault,
    Frame,
    Packet,
    checksum,
    parse,
)
from lbnode.dataplane.values import BackendEntry, PoolTable, VipEntry
from lbnode.model.fleet import HashMode, Protocol
from lbnode.model.ids import BackendId, IPAddress, PoolName
from lbnode.model.tunnel import IPVersion
from lbnode.model.vip import ANY_PORT
from lbnode.quic import server_of_packet
from ring.bucket import bucket_of

TTL = 64
UDP_SIZE = 8
DO_NOT_FRAGMENT = 0x4000
KEY_PRESENT = 0x2000
GRE_SIZE = 8
"""With key."""
AMPLE_ROOM = 192
"""Bytes before a frame that every driver with native XDP leaves."""
ETHERTYPES = {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}


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
    also when it is dropped. `pushed`: bytes that stand before where the frame began.
    """

    outcome: str
    verdict: Verdict
    frame: bytes
    backend: BackendId | None = None
    notes: tuple[str, ...] = ()
    vip: VipEntry | None = None
    bucket: int | None = None
    ifindex: int = 0
    pushed: int = 0


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
    sources: Sequence[IPAddress]
    ingress: int = 1
    own_mac: bytes = b""
    """Of the interface `ingress`; empty: frames for every MAC are taken."""
    recorded: Mapping[PoolName, NDArray[np.bool_]] = field(default_factory=dict)
    flows: FlowModel = field(default_factory=FlowModel)
    fragments: FragmentModel = field(default_factory=FragmentModel)
    unready: Sequence[PoolTable] = ()
    answers: bool = True
    """False when no more answers may be written for now."""
    _pools: dict[PoolName, PoolTable] = field(init=False, default_factory=dict)
    _backends: dict[BackendId, BackendEntry] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._pools.update({table.pool: table for table in self.tables})
        self._backends.update({entry.id: entry for entry in self.backends})

    def process(self, frame: bytes, room: int = AMPLE_ROOM) -> Result:
        """Return what the node does with `frame`, which came in by the interface `ingress`.

        `room`: bytes that the driver leaves before it.
        """
        result = self._judge(frame)
        if result.pushed <= room:
            return result
        left = _left("drop_no_headroom", frame)
        return replace(left, notes=result.notes, vip=result.vip, bucket=result.bucket)

    def _judge(self, frame: bytes) -> Result:
        if self.own_mac and frame[:6] != self.own_mac:
            return _left("pass_not_ours", frame)
        outside = Frame.parse(frame)
        if outside.kind not in ETHERTYPES.values():
            return _left("pass_not_ip", frame)
        packet = parse(outside.kind, outside.payload)
        if isinstance(packet, Fault):
            return _left("pass_malformed", frame)
        if not packet.fault and not packet.is_fragment and packet.protocol == ICMP[packet.version]:
            return self._treat_icmp(packet, outside)
        vip = None if packet.fault else self._vip(packet)
        due = _due(packet)
        noted: tuple[str, ...] = ()
        if vip is None and not packet.fault and self._is_ours(packet):
            packet, noted = self.fragments.lend(packet)
            vip = self._vip(packet) if noted else None
        if vip is None:
            return replace(self._without_vip(packet, due, frame), notes=noted)
        result = self._forward(packet, vip, outside)
        return replace(result, notes=(*noted, *result.notes))

    def _vip(self, packet: Packet) -> VipEntry | None:
        here = [
            vip
            for vip in self.vips
            if vip.protocol == packet.protocol and packet.destination in vip.key.network
        ]
        if packet.is_fragment:
            return self._vip_of_fragments(here)
        if packet.ports is None:
            return None
        port = packet.ports[1]
        return max((vip for vip in here if port in vip.key.ports), key=particular, default=None)

    def _vip_of_fragments(self, candidates: Sequence[VipEntry]) -> VipEntry | None:
        """A fragment may name no port: its VIP is known when all candidates agree without one."""
        pools = {vip.pool for vip in candidates}
        if len(pools) != 1:
            return None
        known = [*self.tables, *self.unready]
        if not any(table.pool in pools and table.mode is HashMode.SOURCE for table in known):
            return None
        return max(candidates, key=lambda vip: (*particular(vip), -vip.key.ports.first))

    def _is_ours(self, packet: Packet) -> bool:
        return any(packet.destination in vip.key.network for vip in self.vips)

    def _without_vip(self, packet: Packet, due: str, frame: bytes) -> Result:
        here = [vip for vip in self.vips if packet.destination in vip.key.network]
        if not here:
            return _left("pass_not_vip", frame)
        longest = max(vip.key.network.prefixlen for vip in here)
        passes = any(vip.wrong_port_pass for vip in here if vip.key.network.prefixlen == longest)
        return _left("pass_wrong_port" if passes else due, frame)

    def _treat_icmp(self, packet: Packet, frame: Frame) -> Result:
        if len(packet.transport) < ICMP_SIZE:
            return self._without_vip(packet, "drop_truncated", frame.data)
        kind = icmp_model.kind_of(packet.transport, packet.version)
        turned = icmp_model.turned(packet) if kind is Kind.ERROR else None
        vip = self._vip(turned) if turned is not None else None
        if turned is not None and vip is not None:
            result = self._forward(turned, vip, frame)
            return replace(result, outcome="forwarded_error") if result.backend is not None else result
        due = "drop_icmp_quote" if kind is Kind.ERROR else "drop_icmp"
        refused = self._without_vip(packet, due, frame.data)
        return self._echo(packet, frame) if kind is Kind.ECHO and refused.outcome == due else refused

    def _echo(self, packet: Packet, frame: Frame) -> Result:
        if not icmp_model.is_answerable(frame.data, packet.source):
            return _left("drop_unanswerable", frame.data)
        if not self.answers:
            return _left("drop_echo_limit", frame.data)
        reply = icmp_model.echo_reply(packet, frame.payload)
        whole = icmp_model.sent_back(frame, reply, frame.payload[packet.size :])
        return Result("answered_echo", Verdict.TX, whole)

    def _too_big(self, packet: Packet, frame: Frame, room: int) -> Result:
        """Tell the sender the size that fits, the key always counted (design.md §4)."""
        if not icmp_model.may_be_quoted(frame):
            return _left("drop_too_big", frame.data)
        if not icmp_model.is_answerable(frame.data, packet.source):
            return _left("drop_unanswerable", frame.data)
        if not self.answers:
            return _left("drop_error_limit", frame.data)
        reply = icmp_model.too_big(packet, frame.payload, room)
        pushed = icmp_model.HEADER_SIZE[packet.version] + ICMP_SIZE
        return Result("answered_too_big", Verdict.TX, icmp_model.sent_back(frame, reply), pushed=pushed)

    def _forward(self, packet: Packet, vip: VipEntry, frame: Frame) -> Result:
        table = self._pools.get(vip.pool)
        if table is None:
            return replace(_left("drop_no_table", frame.data), vip=vip)
        bucket = self.bucket(packet, table)
        listed = Listed(int(table.owners[bucket]), int(table.first[bucket]), int(table.second[bucket]))
        notes: tuple[str, ...] = ()
        recorded = self.recorded.get(table.pool)
        is_recorded = recorded is not None and bool(recorded[bucket])
        named = named_backend(packet, table)
        if named is not None:
            listed, notes = Listed(named, 0, 0), ("flow_named",)
        elif table.flow_table or is_recorded:
            listed, notes = self._follow(packet, table, listed, is_recorded)
        return replace(self._send(packet, table, bucket, listed, frame), notes=notes, vip=vip, bucket=bucket)

    def _send(self, packet: Packet, table: PoolTable, bucket: int, listed: Listed, frame: Frame) -> Result:
        backend = self._backends.get(BackendId(listed.owner))
        if backend is None:
            return _left("drop_no_backend", frame.data)
        tunnel = backend.tunnel(table.tunnel)
        source = self._source(bucket, table.tunnel)
        if tunnel is None or tunnel.next_hop is None or source is None:
            return _left("drop_no_next_hop", frame.data)
        hop = tunnel.next_hop
        key = _key(packet, listed) if backend.agent else b""
        gre = struct.pack("!HH", KEY_PRESENT if key else 0, ETHERTYPES[packet.version]) + key
        size = len(gre) + packet.size
        outer = outer_header(source, tunnel.address, size, table.stamp, packet.dscp) + gre
        room = (hop.mtu or 0xFFFF) - icmp_model.HEADER_SIZE[table.tunnel] - GRE_SIZE
        if packet.size > room:
            return self._too_big(packet, frame, room)
        ethernet = hop.destination_mac + hop.source_mac + struct.pack("!H", ETHERTYPES[table.tunnel])
        verdict = Verdict.TX if hop.ifindex == self.ingress else Verdict.REDIRECT
        outcome = "forwarded_keyed" if key else "forwarded"
        whole = ethernet + outer + frame.payload
        pushed = len(whole) - len(frame.data)
        return Result(outcome, verdict, whole, backend.id, ifindex=hop.ifindex, pushed=pushed)

    def _follow(
        self, packet: Packet, table: PoolTable, listed: Listed, is_recorded: bool
    ) -> tuple[Listed, tuple[str, ...]]:
        owner_has_agent, first_has_agent = map(self._has_agent, (listed.owner, listed.first))
        around = Circumstances(
            packet.protocol,
            packet.opens,
            owner_has_agent,
            owner_has_agent and (first_has_agent or not listed.second),
            table.flow_table and listed.first != 0,
            is_recorded,
            frozenset(table.failed if table.flow_table else ()),
        )
        return self.flows.follow(_flow(packet, table), listed, around)

    def _has_agent(self, backend: int) -> bool:
        entry = self._backends.get(BackendId(backend))
        return entry is not None and entry.agent

    def bucket(self, packet: Packet, table: PoolTable) -> int:
        """Return the packet's bucket. A fragment has no ports; its pool does not look at them."""
        return bucket_of(table.keys, table.algorithm.value, table.mode.value, packet.flow, table.size)

    def _source(self, bucket: int, family: IPVersion) -> IPAddress | None:
        """Sources of a family fill a power of two of places, by turns."""
        sources = [each for each in self.sources if each.version == family]
        if not sources:
            return None
        places = 1 << (len(sources) - 1).bit_length()
        return sources[bucket % places % len(sources)]


def outer_header(source: IPAddress, destination: IPAddress, size: int, stamp: int, tos: int) -> bytes:
    """Return the outer IP header of a packet with `size` bytes behind it, of the destination's family."""
    if destination.version == 4:
        return _ipv4_header(source.packed + destination.packed, IPV4_SIZE + size, stamp, tos)
    return (
        struct.pack("!IHBB", 6 << 28 | tos << 20 | stamp, size, GRE, TTL) + source.packed + destination.packed
    )


def _ipv4_header(addresses: bytes, size: int, stamp: int, tos: int) -> bytes:
    """RFC 791: never to be fragmented, the stamp as its ID (RFC 6864)."""
    start = struct.pack("!BBHHHBBH", 0x45, tos, size, stamp, DO_NOT_FRAGMENT, TTL, GRE, 0)
    parts = start + addresses
    return parts[:10] + struct.pack("!H", checksum(parts)) + parts[12:]


def _left(outcome: str, frame: bytes) -> Result:
    return Result(outcome, Verdict.PASS if outcome.startswith("pass") else Verdict.DROP, frame)


def named_backend(packet: Packet, table: PoolTable) -> BackendId | None:
    """Return the member that a UDP packet names by its QUIC connection id."""
    if table.quic is None or packet.protocol != Protocol.UDP or packet.ports is None:
        return None
    server = server_of_packet(packet.transport[UDP_SIZE:], table.quic.config_id)
    return BackendId(server) if server in table.quic.members else None


def particular(vip: VipEntry) -> tuple[int, bool, bool]:
    """Return a VIP's place among those that take a packet: the longer prefix, then one port, a range, any."""
    return vip.key.network.prefixlen, isinstance(vip.port, int), vip.port != ANY_PORT


def _due(packet: Packet) -> str:
    """Return why a packet for one of our addresses is served by no VIP."""
    if packet.fault:
        return "drop_truncated" if packet.fault is Fault.TRUNCATED else "drop_extensions"
    if packet.is_fragment:
        return "drop_fragment"
    if packet.ports is not None:
        return "drop_wrong_port"
    return "drop_protocol"


def _key(packet: Packet, listed: Listed) -> bytes:
    """Alternates as GRE key; none in a SYN: a new flow belongs to the owner."""
    if not listed.first or packet.opens:
        return b""
    return struct.pack("!HH", listed.first, listed.second)


def _flow(packet: Packet, table: PoolTable) -> FlowKey:
    portless = packet.is_fragment or (table.mode is HashMode.SOURCE and packet.protocol == Protocol.UDP)
    ports = bytes(4) if portless else packet.transport[:4]
    return packet.source.packed, packet.destination.packed, ports, packet.protocol
