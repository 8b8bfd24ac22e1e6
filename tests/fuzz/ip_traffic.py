"""IP packets for VIPs and beside them, of both families: what a node gets from clients, and a backend in its tunnel.

Each aim makes one thing of the IP layer or above it right, odd or wrong; Ethernet and tunnels are others' business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import Any

from tests.fuzz import headers
from tests.fuzz.headers import ACK, FIN, ICMP, ICMPV6, RST, SYN, TCP, UDP
from tests.fuzz.worlds import Address, Vip

PORTS = (1, 53, 80, 81, 443, 8080, 65535)
FRAGMENTING_CLIENTS, PACKET_IDS = 4, 3
"""Few, so that fragments meet the first of their packet."""
CLIENTS = 48
"""Flows that come again and again, for what is remembered of them."""
FLAGS = (SYN, SYN, SYN | ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, 0, SYN | FIN, 0xFF, SYN | 0xC0)
FRAGMENTS = (0x2000, 0x2001, 0x00B9, 0x1FFF, 0x4000, 0x8000, 0x6000, 0xA000)
"""IPv4's flags and offset; some are no fragments."""
FRAGMENTS6 = (0x0001, 0x0009, 0x05C8, 0xFFF8, 0x0000, 0x0002, 0x0006, 0x0003)
"""The same in IPv6's fragment header."""
OTHER_PROTOCOLS = (0, 2, 4, 41, 43, 44, 47, 50, 51, 59, 60, 132, 135, 139, 255)
OPTIONS = (b"\x01" * 4, b"\x01" * 16, b"\x83\x27" + bytes(38), b"\x94\x04\0\0")
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, DESTINATION)
SIZES = (0, 7, 8, 19, 20, 21, 27, 28, 39, 40, 41, 60, 1500, 0xFFFF)
STARTS = (0x44, 0x40, 0x4F, 0x46, 0x55, 0x65, 0x05, 0xF5, 0x00)
ECHO = {4: 8, 6: 128}
ERRORS = {4: ((3, 1), (3, 3), (3, 4), (11, 0), (12, 0)), 6: ((1, 0), (1, 4), (2, 0), (3, 0), (4, 1))}
OTHER_MESSAGES = {4: (0, 5, 9, 13, 17, 255), 6: (0, 5, 100, 127, 129, 130, 133, 134, 135, 136, 137, 138, 255)}

NOBODY = {
    4: (bytes(4), b"\x7f\0\0\1", b"\xe0\0\0\5", b"\xff" * 4),
    6: (bytes(16), bytes(15) + b"\1", b"\xff\2" + bytes(13) + b"\1"),
}
"""Sources that nobody answers."""


def spot(vip: Vip, chance: Random) -> Vip:
    """Return one address and port of a VIP, at its edges or between them; now and then just outside."""
    address, port = vip.address, vip.port
    if vip.length is not None:
        size = 1 << vip.address.max_prefixlen - vip.length
        address += chance.choice((0, size - 1, size // 2, chance.randrange(size)))
    if vip.last_port is not None:
        port = chance.choice(
            (port, vip.last_port, min(vip.last_port + 1, 65535), chance.randint(port, vip.last_port))
        )
    return replace(vip, address=address, port=port, length=None, last_port=None)


class IpTraffic:
    """Draws packets, with clients of its own."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._clients = {
            family: [(self.client(family), chance.randrange(1 << 16)) for _ in range(CLIENTS)]
            for family in (4, 6)
        }

    def client(self, family: int) -> bytes:
        """Return the address of some client."""
        chance = self._chance
        if family == 4:
            return bytes((203, 0, chance.randrange(256), chance.randrange(256)))
        return bytes.fromhex("20010db8000d") + chance.randbytes(10)

    def _flow(self, family: int) -> tuple[bytes, int]:
        if self._chance.random() < 0.6:
            return self._chance.choice(self._clients[family])
        return self.client(family), self._chance.randrange(1 << 16)

    def _transport(self, vip: Vip, port: int, client_port: int, payload: bytes = b"") -> bytes:
        if vip.protocol == UDP:
            return headers.udp(client_port, port, payload)
        chance = self._chance
        return headers.tcp(client_port, port, chance.choice(FLAGS), payload, chance.randrange(1 << 32))

    def ip(self, source: bytes, to: bytes, protocol: int, payload: bytes, **fields: Any) -> bytes:
        """Return an IP packet of the family of `to`; `fields` are those of `headers.ipv4` and `headers.ipv6`."""
        fields.setdefault("tos", self._chance.choice((0, 0, 0xB8, 3, 0xFF)))
        if len(to) == 4:
            fields.setdefault("identifier", self._chance.randrange(1 << 16))
            return headers.ipv4(source, to, protocol, payload, **fields)
        fields.setdefault("label", self._chance.randrange(1 << 20))
        return headers.ipv6(source, to, protocol, payload, **fields)

    def to(self, vip: Vip, payload: bytes = b"", port: int | None = None, **fields: Any) -> bytes:
        """Return a packet of some flow to the VIP, or to another `port` of its address."""
        client, client_port = self._flow(vip.address.version)
        segment = self._transport(vip, vip.port if port is None else port, client_port, payload)
        return self.ip(client, vip.address.packed, vip.protocol, segment, **fields)

    # -- aims

    def flow(self, vip: Vip) -> bytes:
        return self.to(
            vip, bytes(self._chance.choice((0, 1, *(self._chance.randrange(1400) for _ in range(3)))))
        )

    def wrong_port(self, vip: Vip) -> bytes:
        return self.to(vip, port=self._chance.choice((*PORTS, 0, self._chance.randrange(1 << 16))))

    def not_vip(self, vip: Vip) -> bytes:
        """For an address that is nearly a VIP's."""
        client, port = self._flow(vip.address.version)
        to = beside(vip.address, self._chance)
        return self.ip(client, to, vip.protocol, self._transport(vip, vip.port, port))

    def other_protocol(self, vip: Vip) -> bytes:
        """Neither TCP nor UDP, or claiming to be."""
        protocol = self._chance.choice((*OTHER_PROTOCOLS, ICMP, ICMPV6, TCP, UDP))
        body = self._chance.randbytes(self._chance.randrange(40))
        return self.ip(self.client(vip.address.version), vip.address.packed, protocol, body)

    def fragment(self, vip: Vip) -> bytes:
        """A fragment that starts like a whole packet, whether or not it is the first."""
        payload = bytes(self._chance.choice((0, 8, 64)))
        port = vip.port if self._chance.random() < 0.9 else self._chance.choice(PORTS)
        return self._fragment(vip, self._transport(vip, port, self._chance.choice(PORTS), payload))

    def fragment_of_few_bytes(self, vip: Vip) -> bytes:
        """A later fragment shows no whole transport header."""
        return self._fragment(vip, self._chance.randbytes(self._chance.randrange(20)))

    def _fragment(self, vip: Vip, body: bytes) -> bytes:
        chance, family = self._chance, vip.address.version
        client = chance.choice(self._clients[family][:FRAGMENTING_CLIENTS])[0]
        if family == 6:
            return self._chained(vip, client, (FRAGMENT,), vip.protocol, body)
        fields: dict[str, Any] = {
            "fragment": chance.choice(FRAGMENTS),
            "identifier": chance.randrange(PACKET_IDS),
        }
        fields["options"] = chance.choice((b"", b"", b"", *OPTIONS))
        return self.ip(client, vip.address.packed, vip.protocol, body, **fields)

    def options(self, vip: Vip) -> bytes:
        """IPv4 options, IPv6 extension headers."""
        chance = self._chance
        if vip.address.version == 4:
            return self.to(vip, options=chance.choice(OPTIONS))
        client, port = self._flow(6)
        return self._chained(vip, client, self._kinds(), vip.protocol, self._transport(vip, vip.port, port))

    def _kinds(self) -> tuple[int, ...]:
        chance = self._chance
        return tuple(chance.choice(EXTENSIONS) for _ in range(chance.choice((1, 1, 2, 3, 6, 6, 7, 7, 7, 8))))

    def _chained(self, vip: Vip, client: bytes, kinds: tuple[int, ...], protocol: int, body: bytes) -> bytes:
        """Return an IPv6 packet with extension headers before `body`."""
        payload, first = self._chain(kinds, protocol, body)
        return self.ip(client, vip.address.packed, first, payload)

    def _chain(self, kinds: tuple[int, ...], protocol: int, body: bytes) -> tuple[bytes, int]:
        """Return extension headers and `body`, and the number of the first of them."""
        first = protocol
        for kind in reversed(kinds):
            body, first = self._extension(kind, first) + body, kind
        return body, first

    def _extension(self, kind: int, following: int) -> bytes:
        chance = self._chance
        if kind == FRAGMENT:
            return struct.pack("!BBHI", following, 0, chance.choice(FRAGMENTS6), chance.randrange(PACKET_IDS))
        words = chance.choice((0, 0, 1, 2, 4))
        size = words * 4 + 8 if kind == AUTHENTICATION else words * 8 + 8
        return bytes((following, words)) + chance.randbytes(size - 2)

    def short_transport(self, vip: Vip) -> bytes:
        """Ends within the transport header, with or without padding that is none of it."""
        chance, family = self._chance, vip.address.version
        whole = self._transport(vip, vip.port, chance.randrange(1 << 16))
        body = whole[: chance.randrange(len(whole))]
        padding = bytes(chance.choice((0, 0, 30)))
        options = {"options": chance.choice((b"", b"", *OPTIONS))} if family == 4 else {}
        return self.ip(self.client(family), vip.address.packed, vip.protocol, body, **options) + padding

    def wrong_size(self, vip: Vip) -> bytes:
        """A length that the packet does not have, or that is smaller than the header."""
        return self.to(vip, bytes(self._chance.choice((0, 8))), size=self._chance.choice(SIZES))

    def wrong_start(self, vip: Vip) -> bytes:
        """Another version, another length of the header."""
        if vip.address.version == 4:
            return self.to(vip, start=self._chance.choice(STARTS))
        return self.to(vip, version=self._chance.choice((4, 5, 7, 0, 15)))

    def echo(self, vip: Vip) -> bytes:
        family = vip.address.version
        source = self._chance.choice((self.client(family), self.client(family), *NOBODY[family][:2]))
        return self._icmp(vip, source, ECHO[family], 0)

    def other_message(self, vip: Vip) -> bytes:
        family = vip.address.version
        return self._icmp(vip, self.client(family), self._chance.choice(OTHER_MESSAGES[family]), 0)

    def error(self, vip: Vip) -> bytes:
        """An ICMP error of some router, quoting what the VIP sent to a client, or nearly."""
        return self.error_about(vip, self._flow(vip.address.version))

    def error_about(self, vip: Vip, client: tuple[bytes, int]) -> bytes:
        """Return an ICMP error that quotes what the VIP sent to the client and its port, or nearly."""
        chance, family = self._chance, vip.address.version
        kind, code = chance.choice(ERRORS[family])
        quote = self._quote(vip, *client) + bytes(chance.choice((0, 0, 0, 0, 0, 1600)))
        return self._icmp(vip, self.client(family), kind, code, quote)

    def large(self, vip: Vip) -> bytes:
        """Too big for most tunnels, as a fragment or whole, from somebody or nobody."""
        chance, family = self._chance, vip.address.version
        source = chance.choice((self.client(family), *NOBODY[family]))
        segment = self._transport(vip, vip.port, chance.randrange(1 << 16), bytes(1600))
        if family == 6:
            kinds = chance.choice(((), (FRAGMENT,), (DESTINATION,)))
            return self._chained(vip, source, kinds, vip.protocol, segment)
        fragment = chance.choice((0, *FRAGMENTS))
        return self.ip(source, vip.address.packed, vip.protocol, segment, fragment=fragment)

    def _icmp(self, vip: Vip, source: bytes, kind: int, code: int, body: bytes | None = None) -> bytes:
        chance = self._chance
        if body is None:
            body = chance.randbytes(chance.choice((0, 8, 31, 56)))
        message = (
            struct.pack("!BBHI", kind, code, chance.randrange(1 << 16), chance.randrange(1 << 32)) + body
        )
        if chance.random() < 0.05:
            message = message[: chance.randrange(8)]
        own, other = (ICMP, ICMPV6) if vip.address.version == 4 else (ICMPV6, ICMP)
        protocol = own if chance.random() < 0.95 else other
        if chance.random() < 0.7:
            return self.ip(source, vip.address.packed, protocol, message)
        if vip.address.version == 6:
            return self._chained(vip, source, self._kinds(), protocol, message)
        return self.ip(source, vip.address.packed, protocol, message, options=chance.choice(OPTIONS))

    def _quote(self, vip: Vip, client: bytes, client_port: int) -> bytes:
        """The start of a packet from the VIP to a client, cut anywhere."""
        chance, family = self._chance, vip.address.version
        port = vip.port if chance.random() < 0.9 else chance.choice(PORTS)
        head = headers.tcp(port, client_port, ACK) if vip.protocol == TCP else headers.udp(port, client_port)
        source = vip.address.packed if chance.random() < 0.9 else self.client(family)
        first = vip.protocol
        if family == 6 and chance.random() < 0.3:
            head, first = self._chain(self._kinds()[:6], vip.protocol, head)
        packet = self.ip(source, client, first, head, **self._quote_fields(family))
        return packet[: chance.choice((len(packet), len(packet), chance.randrange(len(packet) + 1)))]

    def _quote_fields(self, family: int) -> dict[str, Any]:
        if self._chance.random() < 0.8:
            return {}
        if family == 6:
            return {"version": self._chance.choice((4, 6))}
        return self._chance.choice(
            (
                {"options": self._chance.choice(OPTIONS)},
                {"fragment": self._chance.choice(FRAGMENTS)},
                {"start": self._chance.choice(STARTS)},
                {"size": self._chance.choice(SIZES)},
            )
        )


Aim = Callable[[IpTraffic, Vip], bytes]
ODD_AIMS: tuple[tuple[Aim, int], ...] = (
    (IpTraffic.wrong_port, 5),
    (IpTraffic.not_vip, 3),
    (IpTraffic.other_protocol, 3),
    (IpTraffic.fragment, 6),
    (IpTraffic.fragment_of_few_bytes, 2),
    (IpTraffic.options, 7),
    (IpTraffic.short_transport, 4),
    (IpTraffic.wrong_size, 4),
    (IpTraffic.wrong_start, 3),
    (IpTraffic.echo, 4),
    (IpTraffic.other_message, 1),
    (IpTraffic.error, 4),
    (IpTraffic.large, 1),
)
"""All but plain flows, and how often."""


def beside(address: Address, chance: Random) -> bytes:
    """Return an address that differs in one bit."""
    packed = bytearray(address.packed)
    packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
    return bytes(packed)


def of_nobody(vip: Vip, chance: Random) -> Vip:
    """Return a VIP like this one at an address that nobody has, of either family."""
    packed = chance.choice((chance.randbytes(16), bytes(12) + vip.address.packed[-4:], chance.randbytes(4)))
    return replace(vip, address=ip_address(packed))
