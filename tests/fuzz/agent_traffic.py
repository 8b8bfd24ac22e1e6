"""Frames for a backend: an inner packet for one of its VIPs or beside them, wrapped as members do or should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.fuzz import headers
from tests.fuzz.drawing import PORTS, UNKNOWN
from tests.fuzz.headers import (
    ACK,
    ETHERNET_SIZE,
    FIN,
    GRE,
    ICMP,
    IPV4,
    IPV6,
    MARKED,
    RST,
    SETTLED,
    SYN,
    TCP,
    UDP,
)
from tests.fuzz.mutation import LARGEST, mutate
from tests.fuzz.node_traffic import FRAGMENTS, OPTIONS, OTHER_KINDS, OTHER_PROTOCOLS
from tests.fuzz.worlds import AgentWorld, Member, Number, Packet, Pool, Vip

MUTATED = 0.25
MAC = b"\x02\0\0\0\0\xb1"
SEQUENCE_AT, ACKNOWLEDGED_AT = 4, 8
"""In a TCP header."""
FLAGS = (SYN, SYN, ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, SYN | ACK, 0, 0xFF)
DELTAS = (0, 0, 0, 0, 1, 2, 3, 4, -1, 1000, (1 << 20) - 1, 1 << 20, -(1 << 20), -(1 << 20) - 1, 1 << 31)
REFUSED_BITS = (0x8000, 0x4000, 0x1000, 0x0800, 0x0400, 0x0001, 0x0002, 0x0004)
IGNORED_BITS = (0x0200, 0x0100, 0x0080, 0x0040, 0x0020)
ROOMS = (4, 192, 208, 212, 216, 216)
OUTER_IPV4 = 20


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
        self._own = world.own[0].packed
        self._pools = {pool.name: pool for pool in world.pools}
        self._tcp = [vip for vip in world.vips if vip.protocol == TCP] or list(world.vips)
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

    def _client(self) -> bytes:
        return bytes((203, 0, 113, self._chance.randrange(256)))

    # -- the outer side

    def _member(self) -> Member:
        return self._chance.choice(self._world.members)

    def _stamp(self, pool: Pool | None) -> int:
        """The pool's own stamp, that of a near or a far epoch, now and then of a local view."""
        chance = self._chance
        stamp = pool.stamp if pool else chance.randrange(1 << 16)
        ahead = chance.choice((0, 0, -1, 1, -2, -0x3FFF, 0x3FFF, 0x4000, chance.randrange(1 << 15)))
        local = chance.choice((0, 0, 0, 0x8000))
        return ((stamp + ahead & 0x7FFF) | (stamp & 0x8000)) ^ local

    def _wrap(self, vip: Vip | None = None) -> Wrap:
        """A way of wrapping that some member would choose for a packet to `vip`."""
        chance = self._chance
        wrap = Wrap(self._member().address.packed, self._stamp(self._pools[vip.pool] if vip else None))
        if chance.random() < 0.5:
            first, second = chance.choice(self._ids), chance.choice((0, *self._ids))
            wrap.key = first << 16 | second
        if chance.random() < 0.2:
            wrap.flags |= chance.choice((MARKED, MARKED, SETTLED, MARKED | SETTLED))
        if chance.random() < 0.1:
            wrap.flags |= chance.choice(IGNORED_BITS)
        return wrap

    def _wrapped(self, wrap: Wrap, inner: bytes, kind: int = IPV4, **outer: int | bytes) -> Packet:
        """Return the frame; `outer` are fields of the outer header."""
        fields = {"fragment": 0x4000, "identifier": wrap.stamp, **outer}
        payload = headers.gre(kind, wrap.flags, wrap.key) + inner
        packet = headers.ipv4(wrap.source, self._own, GRE, payload, **fields)  # type: ignore[arg-type]
        return Packet(headers.ethernet(packet, IPV4, MAC))

    # -- the inner side

    def _tos(self) -> int:
        return self._chance.choice((0, 0, 0xB8, 3, 0xFF))

    def _inner(self, vip: Vip, payload: bytes = b"", port: int | None = None, **fields: int | bytes) -> bytes:
        to, client = vip.port if port is None else port, self._chance.randrange(1 << 16)
        if vip.protocol == UDP:
            segment = headers.udp(client, to, payload)
        else:
            flags = self._chance.choice(FLAGS)
            segment = headers.tcp(client, to, flags, payload, self._chance.randrange(1 << 32))
        return headers.ipv4(
            self._client(), vip.address.packed, vip.protocol, segment, tos=self._tos(), **fields  # type: ignore[arg-type]
        )  # fmt: skip

    def _to(self, vip: Vip, inner: bytes, **outer: int | bytes) -> Packet:
        return self._wrapped(self._wrap(vip), inner, **outer)  # type: ignore[arg-type]

    # -- aims

    def flow(self) -> Packet:
        vip = self._chance.choice(self._tcp)
        return self._to(vip, self._inner(vip, bytes(self._chance.choice((0, 0, 1, 4, 60)))))

    def any_vip(self) -> Packet:
        vip = self._chance.choice(self._world.vips)
        return self._to(vip, self._inner(vip, options=self._chance.choice((b"", b"", *OPTIONS))))

    def in_sync(self) -> Packet:
        vip = self._chance.choice(self._tcp)
        wrap = Wrap(self._member().address.packed, self._pools[vip.pool].stamp)
        return self._wrapped(wrap, self._inner(vip))

    def without_room(self) -> Packet:
        """To be passed on along this backend's own epoch, with a longer header than it came with."""
        vip = self._chance.choice(self._tcp)
        stamp = self._pools[vip.pool].stamp ^ self._chance.choice((1, 0x8000))
        packet = self._wrapped(Wrap(self._member().address.packed, stamp), self._inner(vip))
        return Packet(packet.data, self._chance.choice((208, 212, 216, 216)))

    def sized(self) -> Packet:
        vip = self._chance.choice(self._tcp)
        fits = self._chance.choice(self._mtus) - self._chance.choice((24, 28)) + self._chance.randint(-2, 2)
        return self._to(vip, self._inner(vip, bytes(max(0, min(fits, LARGEST - 42) - 40))))

    def of_socket(self) -> Packet:
        """A packet of a flow that is held here, with numbers that fit or not."""
        if not self._world.sockets:
            return self.flow()
        chance = self._chance
        number = chance.randrange(len(self._world.sockets))
        each = self._world.sockets[number]
        vip = next(vip for vip in self._tcp if (vip.address, vip.port) == (each.address, each.port))
        flags = chance.choice((ACK, ACK, ACK, ACK | 8, ACK | FIN, RST, RST | ACK, 0, SYN | ACK))
        options = chance.choice((b"", b"", b"", *OPTIONS))
        segment = headers.tcp(each.client_port, each.port, flags)
        inner = headers.ipv4(each.client.packed, each.address.packed, TCP, segment, options=options)
        wrap = self._wrap(vip)
        frame = self._wrapped(wrap, inner).data
        start = len(frame) - len(segment)
        numbers = (
            Number(start + SEQUENCE_AT, number, True, chance.choice(DELTAS)),
            Number(start + ACKNOWLEDGED_AT, number, False, chance.choice(DELTAS)),
        )
        return Packet(frame, 0, numbers)

    def beside_vip(self) -> Packet:
        """The address of a VIP, or nearly; another port, protocol, or none."""
        chance, vip = self._chance, self._chance.choice(self._world.vips)
        if chance.random() < 0.4:
            return self._to(vip, self._inner(vip, port=chance.choice((*PORTS, 0))))
        to = bytearray(vip.address.packed)
        if chance.random() < 0.5:
            to[chance.randrange(4)] ^= 1 << chance.randrange(8)
        protocol = chance.choice((ICMP, TCP, UDP, *OTHER_PROTOCOLS))
        return self._to(vip, headers.ipv4(self._client(), bytes(to), protocol, chance.randbytes(24)))

    def fragment(self) -> Packet:
        vip = self._chance.choice(self._world.vips)
        return self._to(vip, self._inner(vip, fragment=self._chance.choice(FRAGMENTS)))

    def inner_wrong(self) -> Packet:
        """An inner header that lies about its lengths or its version."""
        chance, vip = self._chance, self._chance.choice(self._world.vips)
        fields: tuple[dict[str, int | bytes], ...] = (
            {"size": chance.choice((0, 19, 20, 27, 28, 39, 41, 1500, 0xFFFF))},
            {"start": chance.choice((0x44, 0x40, 0x4F, 0x46, 0x65, 0x05))},
        )
        return self._to(vip, self._inner(vip, **chance.choice(fields)))  # type: ignore[arg-type]

    def inner_cut(self) -> Packet:
        """Lengths that follow the truncation, or do not."""
        vip = self._chance.choice(self._world.vips)
        whole = self._inner(vip)
        return self._to(vip, whole[: self._chance.randrange(len(whole))])

    def inner_ipv6(self) -> Packet:
        """IPv6 for an address that is no VIP, sound or not."""
        chance, vip = self._chance, self._chance.choice(self._world.vips)
        protocol = chance.choice((TCP, UDP, 58, 44, 0))
        body = headers.tcp(chance.randrange(1 << 16), vip.port, ACK)[: chance.choice((20, 20, 8, 3))]
        to = bytes(12) + vip.address.packed if chance.random() < 0.5 else chance.randbytes(16)
        size, version = chance.choice((None, None, 0, 7, 900)), chance.choice((6, 6, 6, 4))
        inner = headers.ipv6(
            chance.randbytes(16), to, protocol, body, version=version, size=size, tos=self._tos()
        )
        return self._wrapped(self._wrap(vip), inner, IPV6)

    def stranger(self) -> Packet:
        vip = self._chance.choice(self._world.vips)
        wrap = self._wrap(vip)
        wrap.source = self._chance.choice((self._own, bytes((10, 66, 0, 1)), bytes(4)))
        if self._chance.random() < 0.5:
            member = bytearray(self._member().address.packed)
            member[self._chance.randrange(4)] ^= 1 << self._chance.randrange(8)
            wrap.source = bytes(member)
        return self._wrapped(wrap, self._inner(vip))

    def outer_wrong(self) -> Packet:
        """An outer header that no node sends."""
        chance, vip = self._chance, self._chance.choice(self._world.vips)
        fields: tuple[dict[str, int | bytes], ...] = (
            {"options": chance.choice(OPTIONS)},
            {"fragment": chance.choice(FRAGMENTS)},
            {"start": chance.choice((0x44, 0x46, 0x65, 0x55))},
            {"size": chance.choice((0, 19, 20, 23, 24, 27, 43, 44, 47, 1500, 0xFFFF))},
        )
        return self._to(vip, self._inner(vip), **chance.choice(fields))

    def gre_wrong(self) -> Packet:
        chance, vip = self._chance, self._chance.choice(self._world.vips)
        wrap = self._wrap(vip)
        kind = IPV4
        if chance.random() < 0.6:
            wrap.flags |= chance.choice(REFUSED_BITS)
        else:
            kind = chance.choice((IPV6, 0x6558, 0x880B, 0, 0x0008))
        return self._wrapped(wrap, self._inner(vip), kind)

    def not_for_us(self) -> Packet:
        """Another protocol, another address, no IPv4."""
        chance, frame = self._chance, bytearray(self.any_vip().data)
        match chance.randrange(3):
            case 0:
                frame[12:14] = chance.choice(OTHER_KINDS).to_bytes(2, "big")
            case 1:
                frame[23] = chance.choice((TCP, UDP, ICMP, *OTHER_PROTOCOLS))
            case _:
                frame[chance.randint(30, 33)] ^= 1 << chance.randrange(8)
        return Packet(bytes(frame))

    def cut(self) -> Packet:
        whole = self.any_vip().data
        return Packet(whole[: self._chance.randint(ETHERNET_SIZE, len(whole))])

    def padded(self) -> Packet:
        packet = self.of_socket()
        return Packet(packet.data + self._chance.randbytes(self._chance.randint(1, 60)), 0, packet.numbers)

    def noise(self) -> Packet:
        body = self._chance.randbytes(self._chance.randrange(60))
        return self._wrapped(self._wrap(), body, self._chance.choice((IPV4, IPV6)))


Aim = Callable[[AgentTraffic], Packet]
AIMS: tuple[tuple[Aim, int], ...] = (
    (AgentTraffic.flow, 30),
    (AgentTraffic.any_vip, 8),
    (AgentTraffic.in_sync, 4),
    (AgentTraffic.without_room, 3),
    (AgentTraffic.sized, 8),
    (AgentTraffic.of_socket, 20),
    (AgentTraffic.beside_vip, 5),
    (AgentTraffic.fragment, 3),
    (AgentTraffic.inner_wrong, 4),
    (AgentTraffic.inner_cut, 4),
    (AgentTraffic.inner_ipv6, 4),
    (AgentTraffic.stranger, 3),
    (AgentTraffic.outer_wrong, 4),
    (AgentTraffic.gre_wrong, 4),
    (AgentTraffic.not_for_us, 3),
    (AgentTraffic.cut, 3),
    (AgentTraffic.padded, 2),
    (AgentTraffic.noise, 1),
)
"""What packets aim at, and how often."""
