"""Frames for a node: each aims at one of the things that can become of a packet; one in four is then mutated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.fuzz import headers
from tests.fuzz.drawing import PORTS
from tests.fuzz.headers import ACK, ETHERNET_SIZE, FIN, ICMP, IPV4, RST, SYN, UDP
from tests.fuzz.mutation import LARGEST, mutate
from tests.fuzz.worlds import NodeWorld, Packet, Vip

MUTATED = 0.25
EARLY = 4
"""One in so many comes before the world's changes."""
CLIENTS = 48
"""Flows that come again and again, for what is remembered of them."""
FLAGS = (SYN, SYN, SYN | ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, 0, SYN | FIN, 0xFF, SYN | 0xC0)
FRAGMENTS = (0x2000, 0x2001, 0x00B9, 0x1FFF, 0x4000, 0x8000, 0x6000, 0xA000)
OTHER_PROTOCOLS = (0, 2, 4, 41, 47, 50, 58, 132, 255)
OTHER_KINDS = (headers.ARP, headers.VLAN, 0x88A8, headers.IPV6, 0x0801, 0x0608, 0, 0xFFFF)
OPTIONS = (b"\x01" * 4, b"\x01" * 16, b"\x83\x27" + bytes(38), b"\x94\x04\0\0")
ROOMS = (4, 64, 188, 192, 196, 200, 216)
OUTER_SIZES = (24, 28)


class NodeTraffic:
    """Draws packets for one world."""

    def __init__(self, world: NodeWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._clients = [(self._client(), chance.randrange(1 << 16)) for _ in range(CLIENTS)]
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

    def _client(self) -> bytes:
        chance = self._chance
        return bytes((198, 51, chance.randrange(256), chance.randrange(256)))

    def _flow(self) -> tuple[bytes, int]:
        if self._chance.random() < 0.6:
            return self._chance.choice(self._clients)
        return self._client(), self._chance.randrange(1 << 16)

    def _vip(self) -> Vip:
        return self._chance.choice(self._world.vips)

    def _frame(self, packet: bytes, kind: int = IPV4) -> bytes:
        return headers.ethernet(packet, kind, self._world.own_mac or b"\x02\0\0\0\0\xbb")

    def _transport(self, vip: Vip, port: int, client_port: int, payload: bytes = b"") -> bytes:
        if vip.protocol == UDP:
            return headers.udp(client_port, port, payload)
        return headers.tcp(client_port, port, self._chance.choice(FLAGS), payload)

    def _to(self, vip: Vip, payload: bytes = b"", port: int | None = None, **fields: int | bytes) -> bytes:
        """Return a frame to a VIP; `fields` are those of its IP header."""
        client, client_port = self._flow()
        segment = self._transport(vip, vip.port if port is None else port, client_port, payload)
        return self._frame(self._ip(client, vip.address.packed, vip.protocol, segment, **fields))

    def _ip(self, source: bytes, to: bytes, protocol: int, payload: bytes, **fields: int | bytes) -> bytes:
        fields.setdefault("tos", self._chance.choice((0, 0, 0xB8, 3, 0xFF)))
        fields.setdefault("identifier", self._chance.randrange(1 << 16))
        return headers.ipv4(source, to, protocol, payload, **fields)  # type: ignore[arg-type]

    # -- aims

    def flow(self) -> bytes:
        return self._to(self._vip(), bytes(self._chance.choice((0, 1, 60, self._chance.randrange(1400)))))

    def sized(self) -> bytes:
        """Around the size that just fits some next hop."""
        fits = (
            self._chance.choice(self._mtus) - self._chance.choice(OUTER_SIZES) + self._chance.randint(-2, 2)
        )
        vip = self._vip()
        own = 28 if vip.protocol == UDP else 40
        return self._to(vip, bytes(max(0, min(fits, LARGEST - ETHERNET_SIZE) - own)))

    def wrong_port(self) -> bytes:
        return self._to(self._vip(), port=self._chance.choice((*PORTS, 0, self._chance.randrange(1 << 16))))

    def not_vip(self) -> bytes:
        vip = self._vip()
        other = bytearray(vip.address.packed)
        other[self._chance.randrange(4)] ^= 1 << self._chance.randrange(8)
        client, port = self._flow()
        segment = self._transport(vip, vip.port, port)
        return self._frame(self._ip(client, bytes(other), vip.protocol, segment))

    def icmp(self) -> bytes:
        body = self._chance.choice((b"\x08\0", b"\x03\x04", b"\x0b\0", b"\0\0")) + self._chance.randbytes(30)
        return self._frame(self._ip(self._client(), self._vip().address.packed, ICMP, body))

    def other_protocol(self) -> bytes:
        protocol = self._chance.choice(OTHER_PROTOCOLS)
        body = self._chance.randbytes(self._chance.randrange(40))
        return self._frame(self._ip(self._client(), self._vip().address.packed, protocol, body))

    def fragment(self) -> bytes:
        payload = bytes(self._chance.choice((0, 8, 64)))
        return self._to(self._vip(), payload, fragment=self._chance.choice(FRAGMENTS))

    def fragment_of_few_bytes(self) -> bytes:
        """A later fragment shows no whole transport header."""
        vip, body = self._vip(), self._chance.randbytes(self._chance.randrange(20))
        offset = self._chance.choice((0x00B9, 0x2001, 0x2000))
        return self._frame(self._ip(self._client(), vip.address.packed, vip.protocol, body, fragment=offset))

    def options(self) -> bytes:
        return self._to(self._vip(), options=self._chance.choice(OPTIONS))

    def short_transport(self) -> bytes:
        vip = self._vip()
        whole = self._transport(vip, vip.port, self._chance.randrange(1 << 16))
        body = whole[: self._chance.randrange(len(whole))]
        options = self._chance.choice((b"", b"", *OPTIONS))
        padding = bytes(self._chance.choice((0, 0, 30)))
        packet = self._ip(self._client(), vip.address.packed, vip.protocol, body, options=options)
        return self._frame(packet + padding)

    def wrong_size(self) -> bytes:
        """A length that the frame does not have, or that is smaller than the header."""
        size = self._chance.choice((0, 19, 20, 21, 27, 28, 39, 40, 41, 60, 1500, 0xFFFF))
        return self._to(self._vip(), bytes(self._chance.choice((0, 8))), size=size)

    def wrong_start(self) -> bytes:
        start = self._chance.choice((0x44, 0x40, 0x4F, 0x46, 0x55, 0x65, 0x05, 0xF5, 0x00))
        return self._to(self._vip(), start=start)

    def padded(self) -> bytes:
        return self._to(self._vip()) + self._chance.randbytes(self._chance.randint(1, 60))

    def cut(self) -> bytes:
        whole = self.flow()
        return whole[: self._chance.randint(ETHERNET_SIZE, len(whole))]

    def other_mac(self) -> bytes:
        frame = bytearray(self.flow())
        if self._chance.random() < 0.3:
            frame[:6] = self._chance.choice((b"\xff" * 6, b"\x01\0\x5e\0\0\x05", bytes(6)))
        else:
            frame[self._chance.randrange(6)] ^= 1 << self._chance.randrange(8)
        return bytes(frame)

    def other_kind(self) -> bytes:
        frame = bytearray(self.flow())
        frame[12:14] = self._chance.choice(OTHER_KINDS).to_bytes(2, "big")
        return bytes(frame)

    def noise(self) -> bytes:
        body = self._chance.randbytes(self._chance.randrange(120))
        return self._frame(body, self._chance.choice((IPV4, IPV4, self._chance.randrange(1 << 16))))


Aim = Callable[[NodeTraffic], bytes]
AIMS: tuple[tuple[Aim, int], ...] = (
    (NodeTraffic.flow, 40),
    (NodeTraffic.sized, 12),
    (NodeTraffic.wrong_port, 5),
    (NodeTraffic.not_vip, 3),
    (NodeTraffic.icmp, 3),
    (NodeTraffic.other_protocol, 3),
    (NodeTraffic.fragment, 6),
    (NodeTraffic.fragment_of_few_bytes, 2),
    (NodeTraffic.options, 4),
    (NodeTraffic.short_transport, 4),
    (NodeTraffic.wrong_size, 4),
    (NodeTraffic.wrong_start, 3),
    (NodeTraffic.padded, 3),
    (NodeTraffic.cut, 3),
    (NodeTraffic.other_mac, 2),
    (NodeTraffic.other_kind, 2),
    (NodeTraffic.noise, 1),
)
"""What packets aim at, and how often."""
