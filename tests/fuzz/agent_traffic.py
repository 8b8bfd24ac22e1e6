"""Frames for a backend: an inner packet for one of its VIPs or beside them, wrapped as members do or should not."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from tests.fuzz import headers
from tests.fuzz.drawing import UNKNOWN
from tests.fuzz.headers import ACK, ETHERNET_SIZE, FIN, GRE, IPV4, IPV6, MARKED, RST, SETTLED, SYN, TCP, UDP
from tests.fuzz.ip_traffic import (
    DESTINATION,
    FRAGMENT,
    FRAGMENTS,
    FRAGMENTS6,
    HOP_BY_HOP,
    ODD_AIMS,
    OPTIONS,
    OTHER_PROTOCOLS,
    SIZES,
    Aim,
    IpTraffic,
    beside,
    of_nobody,
    spot,
)
from tests.fuzz.mutation import LARGEST, mutate
from tests.fuzz.node_traffic import OTHER_KINDS, OUTER_SIZES, kind_of, with_tags
from tests.fuzz.quic_traffic import quic_payload
from tests.fuzz.worlds import AgentWorld, Member, Number, Packet, Pool, Vip

MUTATED = 0.25
IPV4_ADDRESS_SIZE = 4
MAC = b"\x02\0\0\0\0\xb1"
SEQUENCE_AT, ACKNOWLEDGED_AT = 4, 8
"""In a TCP header."""
ANSWERS = (ACK, ACK, ACK, ACK | 8, ACK | FIN, RST, RST | ACK, 0, SYN | ACK)
DELTAS = (0, 0, 0, 0, 1, 2, 3, 4, -1, 1000, (1 << 20) - 1, 1 << 20, -(1 << 20), -(1 << 20) - 1, 1 << 31)
REFUSED_BITS = (0x8000, 0x4000, 0x1000, 0x0800, 0x0400, 0x0001, 0x0002, 0x0004)
IGNORED_BITS = (0x0200, 0x0100, 0x0080, 0x0040, 0x0020)
MARKS = (MARKED, MARKED, SETTLED, MARKED | SETTLED)
ROOMS = (4, 168, 192, 208, 212, 216, 216)


@dataclass(slots=True)
class Wrap:
    """How an inner packet is wrapped: outer source, stamp, GRE's flags and key."""

    source: bytes
    stamp: int
    flags: int = 0
    key: int | None = None


class AgentTraffic:
    """Draws packets for one world."""

    def __init__(self, world: AgentWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._ip = IpTraffic(chance)
        self._own = {end.version: end.packed for end in world.own}
        self._members = {
            version: [each for each in world.members if each.address.version == version]
            for version in self._own
        }
        self._pools = {pool.name: pool for pool in world.pools}
        self._tcp = [vip for vip in world.vips if vip.protocol == TCP] or list(world.vips)
        self._configs = {pool.name: pool.quic for pool in world.pools if pool.quic is not None}
        udp = [vip for vip in world.vips if vip.protocol == UDP]
        self._quic = [vip for vip in udp if vip.pool in self._configs] or udp or list(world.vips)
        self._ids = [world.self_id, UNKNOWN, 0, *(each.id for each in world.backends)]
        self._mtus = [way.mtu for each in world.backends for way in each.ways if way.mtu] or [1500]

    def packets(self, count: int) -> Iterator[Packet]:
        """Yield `count` packets."""
        aims = self._chance.choices([aim for aim, _ in AIMS], [weight for _, weight in AIMS], k=count)
        for aim in aims:
            packet = aim(self)
            data = mutate(self._chance, packet.data) if self._chance.random() < MUTATED else packet.data
            yield Packet(data[:LARGEST], packet.metadata or self._metadata(), packet.numbers)

    def _metadata(self) -> int:
        return self._chance.choice(ROOMS) if self._chance.random() < 0.04 else 0

    def _vip(self) -> Vip:
        return spot(self._chance.choice(self._world.vips), self._chance)

    def _tcp_vip(self) -> Vip:
        return spot(self._chance.choice(self._tcp), self._chance)

    def quic(self) -> Packet:
        """UDP that may name this backend or another."""
        vip = spot(self._chance.choice(self._quic), self._chance)
        payload = quic_payload(self._chance, self._configs.get(vip.pool, 0), self._ids)
        return self._to(vip, self._ip.to(vip, payload))

    # -- how it is wrapped

    def _member(self) -> Member:
        """Who may send, by a tunnel that ends here; there are nodes of both families."""
        return self._chance.choice(self._members[self._chance.choice(list(self._members))])

    def _stamp(self, pool: Pool) -> int:
        """The pool's own stamp, that of a near or a far epoch, now and then of a local view."""
        chance = self._chance
        ahead = chance.choice((0, 0, -1, 1, -2, -0x3FFF, 0x3FFF, 0x4000, chance.randrange(1 << 15)))
        local = chance.choice((0, 0, 0, 0x8000))
        return ((pool.stamp + ahead & 0x7FFF) | (pool.stamp & 0x8000)) ^ local

    def _wrap(self, vip: Vip) -> Wrap:
        """A way of wrapping that some member would choose for a packet to `vip`."""
        chance = self._chance
        wrap = Wrap(self._member().address.packed, self._stamp(self._pools[vip.pool]))
        if chance.random() < 0.5:
            first, second = chance.choice(self._ids), chance.choice((0, *self._ids))
            wrap.key = first << 16 | second
        if chance.random() < 0.2:
            wrap.flags |= chance.choice(MARKS)
        if chance.random() < 0.1:
            wrap.flags |= chance.choice(IGNORED_BITS)
        return wrap

    def _wrapped(self, wrap: Wrap, inner: bytes, kind: int, **outer: Any) -> Packet:
        """Return the frame; `outer` are fields of the outer header; `before`: what IPv6 has between it and GRE."""
        payload = headers.gre(kind, wrap.flags, wrap.key) + inner
        if len(wrap.source) == IPV4_ADDRESS_SIZE:
            fields = {"fragment": 0x4000, "identifier": wrap.stamp, **outer}
            packet = headers.ipv4(wrap.source, self._own.get(4, bytes(4)), GRE, payload, **fields)
            return Packet(headers.ethernet(packet, IPV4, MAC))
        protocol, before = outer.pop("before", (GRE, b""))
        fields = {"label": self._chance.choice((0, 0xF0000)) | wrap.stamp, **outer}
        packet = headers.ipv6(wrap.source, self._own.get(6, bytes(16)), protocol, before + payload, **fields)
        return Packet(headers.ethernet(packet, IPV6, MAC))

    def _to(self, vip: Vip, inner: bytes, **outer: Any) -> Packet:
        return self._wrapped(self._wrap(vip), inner, kind_of(vip), **outer)

    def odd(self, aim: Aim) -> Packet:
        """What the IP layer and those above it bring."""
        vip = self._vip()
        if self._chance.random() < 0.05:
            vip = of_nobody(vip, self._chance)
        return self._to(vip, aim(self._ip, vip))

    # -- aims

    def flow(self) -> Packet:
        vip = self._tcp_vip()
        return self._to(vip, self._ip.flow(vip))

    def any_vip(self) -> Packet:
        vip = self._vip()
        return self._to(vip, self._ip.to(vip))

    def in_sync(self) -> Packet:
        vip = self._tcp_vip()
        wrap = Wrap(self._member().address.packed, self._pools[vip.pool].stamp)
        return self._wrapped(wrap, self._ip.to(vip), kind_of(vip))

    def without_room(self) -> Packet:
        """To be passed on along this backend's own epoch, with a longer header than it came with."""
        vip = self._tcp_vip()
        stamp = self._pools[vip.pool].stamp ^ self._chance.choice((1, 0x8000))
        packet = self._wrapped(Wrap(self._member().address.packed, stamp), self._ip.to(vip), kind_of(vip))
        return Packet(packet.data, self._chance.choice((208, 212, 216, 216)))

    def sized(self) -> Packet:
        """Around the size that just fits some next hop."""
        chance, vip = self._chance, self._tcp_vip()
        fits = chance.choice(self._mtus) - chance.choice(OUTER_SIZES) + chance.randint(-2, 2)
        own = 40 if vip.address.version == 4 else 60
        return self._to(vip, self._ip.to(vip, bytes(max(0, min(fits, LARGEST - 42) - own))))

    def of_socket(self) -> Packet:
        """A packet of a flow that is held here, with numbers that fit or not."""
        if not self._world.sockets:
            return self.flow()
        chance = self._chance
        number = chance.randrange(len(self._world.sockets))
        each = self._world.sockets[number]
        vip = next(vip for vip in self._tcp if (vip.address, vip.port) == (each.address, each.port))
        segment = headers.tcp(each.client_port, each.port, chance.choice(ANSWERS))
        options = {"options": chance.choice((b"", b"", b"", *OPTIONS))} if each.address.version == 4 else {}
        frame = self._to(
            vip, self._ip.ip(each.client.packed, each.address.packed, TCP, segment, **options)
        ).data
        start = len(frame) - len(segment)
        numbers = (
            Number(start + SEQUENCE_AT, number, True, chance.choice(DELTAS)),
            Number(start + ACKNOWLEDGED_AT, number, False, chance.choice(DELTAS)),
        )
        return Packet(frame, 0, numbers)

    def error_about_socket(self) -> Packet:
        """An ICMP error that quotes what a flow held here sent."""
        if not self._world.sockets:
            return self.odd(IpTraffic.error)
        each = self._chance.choice(self._world.sockets)
        vip = next(vip for vip in self._tcp if (vip.address, vip.port) == (each.address, each.port))
        return self._to(vip, self._ip.error_about(vip, (each.client.packed, each.client_port)))

    def inner_cut(self) -> Packet:
        """The inner packet ends anywhere, and the outer lengths know it."""
        vip = self._vip()
        whole = self._ip.to(vip)
        return self._to(vip, whole[: self._chance.randrange(len(whole))])

    def tagged(self) -> Packet:
        packet = self._chance.choice((self.flow, self.in_sync, self.any_vip, self.stranger))()
        return Packet(with_tags(self._chance, packet.data))

    def stranger(self) -> Packet:
        vip = self._vip()
        wrap = self._wrap(vip)
        nobody = bytes((10, 66, 0, 1)), bytes(4), bytes(12) + self._member().address.packed[-4:]
        wrap.source = self._chance.choice((*self._own.values(), *nobody))
        if self._chance.random() < 0.5:
            wrap.source = beside(self._member().address, self._chance)
        return self._wrapped(wrap, self._ip.to(vip), kind_of(vip))

    def outer_wrong(self) -> Packet:
        """An outer header that no node sends."""
        chance, vip = self._chance, self._vip()
        wrap = self._wrap(vip)
        ipv4: tuple[dict[str, Any], ...] = (
            {"options": chance.choice(OPTIONS)},
            {"fragment": chance.choice(FRAGMENTS)},
            {"start": chance.choice((0x44, 0x46, 0x65, 0x55))},
            {"size": chance.choice((*SIZES, 23, 24, 43, 44, 47))},
        )
        ipv6: tuple[dict[str, Any], ...] = (
            {"before": (FRAGMENT, struct.pack("!BBHI", GRE, 0, chance.choice(FRAGMENTS6), 7))},
            {"before": (chance.choice((HOP_BY_HOP, DESTINATION)), bytes((GRE, 0)) + bytes(6))},
            {"version": chance.choice((4, 5, 7))},
            {"size": chance.choice((*SIZES, 3, 4, 23, 24, 43, 44, 47))},
        )
        fields = ipv4 if len(wrap.source) == IPV4_ADDRESS_SIZE else ipv6
        return self._wrapped(wrap, self._ip.to(vip), kind_of(vip), **chance.choice(fields))

    def gre_wrong(self) -> Packet:
        chance, vip = self._chance, self._vip()
        wrap, kind = self._wrap(vip), kind_of(vip)
        if chance.random() < 0.6:
            wrap.flags |= chance.choice(REFUSED_BITS)
        else:
            kind = chance.choice((IPV4, IPV6, 0x6558, 0x880B, 0, 0x0008))
        return self._wrapped(wrap, self._ip.to(vip), kind)

    def not_for_us(self) -> Packet:
        """Another protocol, another address, another kind of frame."""
        chance, frame = self._chance, bytearray(self.any_vip().data)
        is_ipv4 = frame[ETHERNET_SIZE - 2 : ETHERNET_SIZE] == IPV4.to_bytes(2, "big")
        match chance.randrange(3):
            case 0:
                frame[12:14] = chance.choice(OTHER_KINDS).to_bytes(2, "big")
            case 1:
                frame[23 if is_ipv4 else 20] = chance.choice((TCP, 17, 1, *OTHER_PROTOCOLS))
            case _:
                frame[chance.randint(30, 33) if is_ipv4 else chance.randint(38, 53)] ^= 1 << chance.randrange(
                    8
                )
        return Packet(bytes(frame))

    def cut(self) -> Packet:
        whole = self.any_vip().data
        return Packet(whole[: self._chance.randint(ETHERNET_SIZE, len(whole))])

    def padded(self) -> Packet:
        packet = self.of_socket()
        return Packet(packet.data + self._chance.randbytes(self._chance.randint(1, 60)), 0, packet.numbers)

    def noise(self) -> Packet:
        body = self._chance.randbytes(self._chance.randrange(60))
        return self._wrapped(self._wrap(self._vip()), body, self._chance.choice((IPV4, IPV6)))


AIMS: tuple[tuple[Callable[[AgentTraffic], Packet], float], ...] = (
    (AgentTraffic.flow, 36),
    (AgentTraffic.any_vip, 6),
    (AgentTraffic.in_sync, 4),
    (AgentTraffic.without_room, 5),
    (AgentTraffic.sized, 8),
    (AgentTraffic.quic, 8),
    (AgentTraffic.of_socket, 20),
    (AgentTraffic.error_about_socket, 3),
    (AgentTraffic.inner_cut, 3),
    (AgentTraffic.tagged, 6),
    (AgentTraffic.stranger, 3),
    (AgentTraffic.outer_wrong, 4),
    (AgentTraffic.gre_wrong, 4),
    (AgentTraffic.not_for_us, 3),
    (AgentTraffic.cut, 3),
    (AgentTraffic.padded, 2),
    (AgentTraffic.noise, 1),
    *((partial(AgentTraffic.odd, aim=aim), weight / 2) for aim, weight in ODD_AIMS),
)
"""What packets aim at, and how often."""
