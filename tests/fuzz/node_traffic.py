"""Frames for a node: each aims at one of the things that can become of a packet; one in four is then mutated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from tests.fuzz import headers
from tests.fuzz.drawing import UNKNOWN
from tests.fuzz.headers import ETHERNET_SIZE, IPV4, IPV6, OUTER_VLAN, UDP, VLAN
from tests.fuzz.ip_traffic import ODD_AIMS, Aim, IpTraffic, of_nobody, spot
from tests.fuzz.mutation import LARGEST, mutate
from tests.fuzz.quic_traffic import quic_payload
from tests.fuzz.worlds import NodeWorld, Packet, Vip

MUTATED = 0.25
EARLY = 4
"""One in so many comes before the world's changes."""
OTHER_KINDS = (headers.ARP, VLAN, OUTER_VLAN, IPV4, IPV6, 0x0801, 0x0608, 0, 0xFFFF)
OTHER_MACS = (b"\xff" * 6, b"\x01\0\x5e\0\0\x05", bytes(6))
ROOMS = (4, 64, 168, 172, 176, 188, 192, 196, 200, 216)
OUTER_SIZES = (24, 28, 44, 48)


def kind_of(vip: Vip) -> int:
    """Return the Ethernet type of the VIP's packets."""
    return IPV4 if vip.address.version == 4 else IPV6


def with_tags(chance: Random, frame: bytes) -> bytes:
    """Return the frame with one to three tags, now and then cut within them."""
    tags = [
        (chance.choice((VLAN, VLAN, OUTER_VLAN)), chance.randrange(1 << 16))
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3)))
    ]
    whole = headers.tagged(frame, *tags)
    within = ETHERNET_SIZE + chance.randint(0, headers.TAG_SIZE * len(tags))
    return whole if chance.random() < 0.95 else whole[:within]


class NodeTraffic:
    """Draws packets for one world."""

    def __init__(self, world: NodeWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._ip = IpTraffic(chance)
        self._configs = {pool.name: pool.quic for pool in world.pools if pool.quic is not None}
        udp = [vip for vip in world.vips if vip.protocol == UDP]
        self._quic = [vip for vip in udp if vip.pool in self._configs] or udp or list(world.vips)
        self._ids = [UNKNOWN, 0, *(each.id for each in world.backends)]
        self._mtus = [way.mtu for each in world.backends for way in each.ways if way.mtu] or [1500]

    def packets(self, count: int) -> Iterator[Packet]:
        """Yield `count` packets."""
        aims = self._chance.choices([aim for aim, _ in AIMS], [weight for _, weight in AIMS], k=count)
        for number, aim in enumerate(aims):
            frame = aim(self)
            if self._chance.random() < MUTATED:
                frame = mutate(self._chance, frame)
            yield Packet(frame[:LARGEST], self._metadata(), early=number < count // EARLY)

    def _metadata(self) -> int:
        return self._chance.choice(ROOMS) if self._chance.random() < 0.03 else 0

    def _vip(self) -> Vip:
        return spot(self._chance.choice(self._world.vips), self._chance)

    def _frame(self, packet: bytes, kind: int) -> bytes:
        return headers.ethernet(packet, kind, self._world.own_mac or b"\x02\0\0\0\0\xbb")

    def odd(self, aim: Aim) -> bytes:
        """What the IP layer and those above it bring."""
        vip = self._vip()
        if self._chance.random() < 0.05:
            vip = of_nobody(vip, self._chance)
        return self._frame(aim(self._ip, vip), kind_of(vip))

    # -- aims

    def flow(self) -> bytes:
        vip = self._vip()
        return self._frame(self._ip.flow(vip), kind_of(vip))

    def sized(self) -> bytes:
        """Around the size that just fits some next hop."""
        chance, vip = self._chance, self._vip()
        fits = chance.choice(self._mtus) - chance.choice(OUTER_SIZES) + chance.randint(-2, 2)
        own = (8 if vip.protocol == UDP else 20) + (20 if vip.address.version == 4 else 40)
        payload = bytes(max(0, min(fits, LARGEST - ETHERNET_SIZE) - own))
        return self._frame(self._ip.to(vip, payload), kind_of(vip))

    def quic(self) -> bytes:
        """UDP that may name a backend."""
        chance, vip = self._chance, spot(self._chance.choice(self._quic), self._chance)
        payload = quic_payload(chance, self._configs.get(vip.pool, 0), self._ids)
        return self._frame(self._ip.to(vip, payload), kind_of(vip))

    def padded(self) -> bytes:
        return self.flow() + self._chance.randbytes(self._chance.randint(1, 60))

    def cut(self) -> bytes:
        whole = self.flow()
        return whole[: self._chance.randint(ETHERNET_SIZE, len(whole))]

    def tagged(self) -> bytes:
        aim = self._chance.choice((IpTraffic.flow, IpTraffic.options, IpTraffic.echo, IpTraffic.large))
        frame = self.odd(aim)
        return with_tags(self._chance, frame)

    def other_mac(self) -> bytes:
        frame = bytearray(self.flow())
        if self._chance.random() < 0.3:
            frame[:6] = self._chance.choice(OTHER_MACS)
        else:
            frame[self._chance.randrange(6)] ^= 1 << self._chance.randrange(8)
        return bytes(frame)

    def other_kind(self) -> bytes:
        frame = bytearray(self.flow())
        frame[12:14] = self._chance.choice(OTHER_KINDS).to_bytes(2, "big")
        return bytes(frame)

    def noise(self) -> bytes:
        body = self._chance.randbytes(self._chance.randrange(120))
        return self._frame(body, self._chance.choice((IPV4, IPV6, self._chance.randrange(1 << 16))))


AIMS: tuple[tuple[Callable[[NodeTraffic], bytes], int], ...] = (
    (NodeTraffic.flow, 40),
    (NodeTraffic.quic, 12),
    (NodeTraffic.sized, 12),
    (NodeTraffic.padded, 3),
    (NodeTraffic.cut, 3),
    (NodeTraffic.tagged, 6),
    (NodeTraffic.other_mac, 2),
    (NodeTraffic.other_kind, 2),
    (NodeTraffic.noise, 1),
    *((partial(NodeTraffic.odd, aim=aim), weight) for aim, weight in ODD_AIMS),
)
"""What packets aim at, and how often."""
