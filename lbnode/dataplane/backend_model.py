"""The backend's program in Python: frame in; outcome, what else is counted, verdict and frame out. Pure.

Written from design.md §4 and §5 and the RFCs, not from the C; `tests/bpf` runs both over the same frames, and lets
packets wander through several of these to show that none circles. Whether this machine holds a packet's flow is
an argument: the kernel's sockets are not modelled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lbnode.dataplane import icmp_model
from lbnode.dataplane.backend_layout import MemberKind
from lbnode.dataplane.fragment_model import FragmentModel
from lbnode.dataplane.model import (
    AMPLE_ROOM,
    ETHERTYPES,
    Verdict,
    named_backend,
    outer_header,
    particular,
)
from lbnode.dataplane.packet_model import (
    GRE,
    IPV4_SIZE,
    IPV6_SIZE,
    Fault,
    Frame,
    Packet,
    parse,
    word,
)
from lbnode.dataplane.values import BackendEntry, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendId, IPAddress, PoolName
from lbnode.model.intake import Intake
from lbnode.model.tunnel import IPVersion
from ring.bucket import bucket_of

KEYED, MARKED, SETTLED = 0x2000, 0x0008, 0x0010
REFUSED = 0xFC07 & ~KEYED
"""RFC 2784: bits 0 to 5 but for RFC 2890's key, and the version."""
GRE_SIZE, KEY_SIZE = 4, 4
OUTER_SIZE = {4: IPV4_SIZE, 6: IPV6_SIZE}


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """What a member sent: `ids` are the key's. `header`: the size of outer header and GRE."""

    stamp: int
    keyed: bool
    marked: bool
    settled: bool
    ids: tuple[int, ...]
    kind: int
    header: int
    inner: Packet


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a frame. `seen`: what else is counted, in order.

    `backend` and `ifindex`: who gets it, if another does, and by which interface.
    """

    outcome: str
    verdict: Verdict
    frame: bytes
    seen: tuple[str, ...] = ()
    backend: BackendId | None = None
    ifindex: int = 0


Sockets = Callable[[Packet], str]
"""How this machine holds a flow ("held", "handshake", "cookie", "time_wait"), or an empty string.

Of what an error quotes (a packet that shows no head of TCP) only "held".
"""


class _EndError(Exception):
    """Parsing ends here, with this outcome."""


ALONG_THE_LIST = frozenset({"forwarded_keyed", "forwarded_keyless"})
"""Outcomes of a packet that goes on along the list it came with: the list's stamp stays."""


@dataclass(slots=True)
class BackendModel:
    """One backend: its addresses, id, members, tables, peers and VIPs. `heard`: VIPs with a second chance."""

    own: Sequence[IPAddress]
    self_id: BackendId
    sources: Mapping[IPAddress, MemberKind]
    tables: Mapping[PoolName, PoolTable]
    peers: Mapping[BackendId, BackendEntry]
    vips: Sequence[VipEntry]
    heard: Collection[VipEntry]
    intake: Mapping[PoolName, Intake]
    second_chance: bool = True
    ingress: int = 1
    fragments: FragmentModel = field(default_factory=FragmentModel)
    seen: list[str] = field(default_factory=list)

    def process(self, frame: bytes, sockets: Sockets = lambda _inner: "", room: int = AMPLE_ROOM) -> Result:
        """Return what the backend does with `frame`; `sockets` tells what it holds.

        `room`: bytes that the driver leaves before it.
        """
        self.seen = []
        try:
            packet = _by_its_flow(self._parse(frame))
            outcome, ids, marks = self._decide(packet, sockets)
        except _EndError as end:
            return self._left(str(end), frame)
        if not outcome.startswith("forwarded"):
            return self._left(outcome, frame, packet)
        result = self._forward(outcome, packet, ids, marks, frame)
        return self._left("drop_failed", frame) if len(result.frame) - len(frame) > room else result

    # -- what came

    def _parse(self, frame: bytes) -> Tunnelled:
        outside = Frame.parse(frame)
        outer = parse(outside.kind, outside.payload) if outside.kind in ETHERTYPES.values() else Fault.CUT
        if isinstance(outer, Fault) or outer.protocol != GRE or outer.destination not in self.own:
            raise _EndError("untouched")
        if outer.is_fragment or not outer.plain:
            raise _EndError("drop_outer")
        if outer.fault:
            raise _EndError("drop_truncated")
        member = self.sources.get(outer.source)
        if member is None:
            raise _EndError("drop_stranger")
        if member is MemberKind.BACKEND:
            self.seen.append("extra_hop")
        return self._known(_parse_gre(outer))

    def _known(self, packet: Tunnelled) -> Tunnelled:
        """Return the packet; a fragment of TCP as its whole would be, when that is known."""
        if not self.second_chance or packet.inner.protocol != Protocol.TCP:
            return packet
        inner, noted = self.fragments.lend(packet.inner)
        self.seen.extend(noted)
        return replace(packet, inner=inner)

    # -- what becomes of it

    def _decide(self, packet: Tunnelled, sockets: Sockets) -> tuple[str, list[int], int]:
        """Return the outcome, whom to send to and then to ask, and the marks."""
        inner = packet.inner
        vip = self._vip(inner)
        if vip is None:
            ours = any(inner.destination in vip.key.network for vip in self.vips)
            return ("delivered_portless" if ours else "drop_not_vip"), [], 0
        table = self.tables.get(vip.pool)
        if inner.protocol != Protocol.TCP:
            return self._decide_udp(packet, table)
        stamp = table.stamp if table is not None else 0
        if not self.second_chance:
            return "delivered_no_chance", [], 0
        if not packet.keyed and not packet.marked and packet.stamp == stamp:
            return "delivered_in_sync", [], 0
        if table is None or vip not in self.heard:
            return "delivered_no_chance", [], 0
        if inner.opens:
            return self._place_new(packet, vip, table)
        return self._chance(packet, table, sockets)

    def _decide_udp(self, packet: Tunnelled, table: PoolTable | None) -> tuple[str, list[int], int]:
        """UDP stays here, unless a node did not know better whom it names."""
        stays: tuple[str, list[int], int] = "delivered_udp", [], 0
        if not self.second_chance or table is None or packet.marked or packet.stamp == table.stamp:
            return stays
        named = named_backend(packet.inner, table)
        if named is None or named == self.self_id:
            return stays
        ways, _ = self._ways([named], table.tunnel)
        return ("forwarded_named", ways, MARKED) if ways else stays

    def _vip(self, inner: Packet) -> VipEntry | None:
        if inner.ports is None:
            return None
        place = inner.destination, inner.protocol, inner.ports[1]
        return max((vip for vip in self.vips if vip.key.takes(*place)), key=particular, default=None)

    def _place_new(self, packet: Tunnelled, vip: VipEntry, table: PoolTable) -> tuple[str, list[int], int]:
        if packet.settled or self._takes_new(packet, vip, table):
            return "delivered_syn", [], 0
        owner = self._listed(table, packet.inner)[0]
        ways, _ = self._ways([owner], table.tunnel) if owner != self.self_id else ([], False)
        marks = MARKED | (SETTLED if packet.marked else 0)
        return ("forwarded_syn", ways, marks) if ways else ("delivered_syn", [], 0)

    def _takes_new(self, packet: Tunnelled, vip: VipEntry, table: PoolTable) -> bool:
        match self.intake.get(vip.pool, Intake.NONE):
            case Intake.ONE_BEHIND:
                return _ahead(packet, table) >= -1
            case Intake.IN_STEP:
                return _ahead(packet, table) >= 0
            case Intake.NONE:
                return False

    def _chance(self, packet: Tunnelled, table: PoolTable, sockets: Sockets) -> tuple[str, list[int], int]:
        held = sockets(packet.inner)
        if held:
            return f"delivered_{held}", [], 0
        ids = self._completed(packet, table)
        ways, lost = self._ways(ids, table.tunnel)
        if ways:
            settled = packet.settled or len(ids) > len(packet.ids)
            marks = (MARKED if packet.marked else 0) | (SETTLED if settled else 0)
            return ("forwarded_keyed" if ways[1:] else "forwarded_keyless"), ways, marks
        knows_more = not lost or _ahead(packet, table) <= 0
        if not packet.marked and packet.stamp != table.stamp and knows_more:
            own = self._listed(table, packet.inner)
            cut = packet.settled and self.self_id not in own
            ways, lost = self._ways(own[:2] if cut else own, table.tunnel)
        if ways:
            return "forwarded_restarted", ways, MARKED
        return ("drop_no_next_hop" if lost else "delivered_last"), [], 0

    def _completed(self, packet: Tunnelled, table: PoolTable) -> tuple[int, ...]:
        """The packet's list; with today's owner at its end where this backend is the first to know more."""
        begins_anew = not any(packet.ids) and not packet.marked
        if begins_anew or packet.settled or _ahead(packet, table) >= 0:
            return packet.ids
        owner = self._listed(table, packet.inner)[0]
        return packet.ids if owner in (0, self.self_id, *packet.ids) else (*packet.ids, owner)

    def _listed(self, table: PoolTable, inner: Packet) -> list[int]:
        """Owner and alternates by this backend's own epoch."""
        place = bucket_of(table.keys, table.algorithm.value, table.mode.value, inner.flow, table.size)
        return [int(column[place]) for column in (table.owners, table.first, table.second)]

    def _ways(self, ids: Sequence[int], family: IPVersion) -> tuple[list[int], bool]:
        """Return the next backend and those to ask after it, and whether only one is left that cannot be asked.

        Put off are those without agent and those that cannot be reached from here. Only the next one must be a
        member, too; the others are its own affair.
        """
        put_off: list[int] = []
        keyless: list[int] = []
        for place, number in enumerate(ids):
            if not number or not self._is_member(number):
                continue
            if self._tunnel(BackendId(number), family) is None:
                self.seen.append("put_off")
            elif self.peers[BackendId(number)].agent:
                others = [each for each in (*put_off, *ids[place + 1 :]) if each not in (0, self.self_id)]
                return [number, *_without_repeats(others)], False
            else:
                keyless.append(number)
            put_off.append(number)
        lost = len(put_off) > len(keyless)
        return ([] if lost else keyless[:1]), lost

    def _is_member(self, number: int) -> bool:
        if number == self.self_id:
            self.seen.append("skipped_self")
        elif number not in self.peers:
            self.seen.append("skipped_unknown")
        return number != self.self_id and number in self.peers

    def _tunnel(self, number: BackendId, family: IPVersion) -> Tunnel | None:
        """Return a peer's tunnel of this family; None when it has none, this backend has none, or no way is known."""
        peer = self.peers.get(number)
        tunnel = peer.tunnel(family) if peer and self._own(family) else None
        return tunnel if tunnel and tunnel.next_hop else None

    # -- what goes

    def _left(self, outcome: str, frame: bytes, packet: Tunnelled | None = None) -> Result:
        seen = tuple(self.seen)
        if outcome.startswith("drop"):
            return Result(outcome, Verdict.DROP, frame, seen)
        if packet is None:
            return Result(outcome, Verdict.PASS, frame, seen)
        link = Frame.parse(frame).link
        stripped = frame[: link - 2] + packet.kind.to_bytes(2, "big") + frame[link + packet.header :]
        return Result(outcome, Verdict.PASS, stripped, seen)

    def _forward(self, outcome: str, packet: Tunnelled, ids: list[int], marks: int, frame: bytes) -> Result:
        table = self._table(packet.inner)
        tunnel, source = self._tunnel(BackendId(ids[0]), table.tunnel), self._own(table.tunnel)
        assert tunnel is not None
        assert source is not None
        hop = tunnel.next_hop
        assert hop is not None
        key = struct.pack("!HH", *(*ids[1:], 0, 0)[:2]) if ids[1:] else b""
        gre = struct.pack("!HH", (KEYED if key else 0) | marks, packet.kind) + key
        size = len(gre) + packet.inner.size
        if OUTER_SIZE[table.tunnel] + GRE_SIZE + KEY_SIZE + packet.inner.size > (hop.mtu or 0xFFFF):
            return self._left("drop_too_big", frame)
        stamp = packet.stamp if outcome in ALONG_THE_LIST else table.stamp
        outer = outer_header(source, tunnel.address, size, stamp, packet.inner.dscp)
        ethernet = hop.destination_mac + hop.source_mac + ETHERTYPES[table.tunnel].to_bytes(2, "big")
        verdict = Verdict.TX if hop.ifindex == self.ingress else Verdict.REDIRECT
        whole = ethernet + outer + gre + frame[Frame.parse(frame).link + packet.header :]
        return Result(outcome, verdict, whole, tuple(self.seen), BackendId(ids[0]), hop.ifindex)

    def _own(self, family: IPVersion) -> IPAddress | None:
        return next((own for own in self.own if own.version == family), None)

    def _table(self, inner: Packet) -> PoolTable:
        vip = self._vip(inner)
        assert vip is not None
        return self.tables[vip.pool]


def _by_its_flow(packet: Tunnelled) -> Tunnelled:
    """Return an ICMP error as a packet of the flow that it quotes, if it shows the ports; all else as it is."""
    inner = packet.inner
    turned = icmp_model.turned(inner) if icmp_model.is_error(inner) else None
    return packet if turned is None or turned.is_fragment else replace(packet, inner=turned)


def _parse_gre(outer: Packet) -> Tunnelled:
    data = outer.transport
    flags, kind = word(data, 0), word(data, 2)
    size = GRE_SIZE + (KEY_SIZE if flags & KEYED else 0)
    if len(data) >= GRE_SIZE and flags & REFUSED:
        raise _EndError("drop_gre")
    if len(data) < size:
        raise _EndError("drop_truncated")
    ids = struct.unpack_from("!HH", data, GRE_SIZE) if flags & KEYED else ()
    inner = _parse_inner(kind, data[size:])
    header = OUTER_SIZE[outer.version] + size
    marked, settled = bool(flags & MARKED), bool(flags & SETTLED)
    return Tunnelled(outer.tag, bool(flags & KEYED), marked, settled, ids, kind, header, inner)


def _parse_inner(kind: int, data: bytes) -> Packet:
    found = parse(kind, data) if kind in ETHERTYPES.values() else Fault.MALFORMED
    fault = found if isinstance(found, Fault) else found.fault
    if fault is Fault.MALFORMED:
        raise _EndError("drop_inner")
    if fault is Fault.MANY_HEADERS:
        raise _EndError("drop_extensions")
    if fault or isinstance(found, Fault):
        raise _EndError("drop_truncated")
    return found


def _without_repeats(ids: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(ids))


def _ahead(packet: Tunnelled, table: PoolTable) -> int:
    """By how many epochs the sender is ahead of this backend; the stamp's number alone counts."""
    return ((packet.stamp - table.epoch + 0x4000) & 0x7FFF) - 0x4000
