"""Frames for the node's program: proper ones, odd ones, and what chance makes of them. Always the same."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import product

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, Ether
from scapy.packet import Packet, Raw

from tests.bpf.icmp_frames import NOBODY, messages
from tests.bpf.node_world import (
    BY_IPV6_VIP,
    BY_IPV6_VIP6,
    BY_SOURCE_PREFIX,
    BY_SOURCE_VIP,
    BY_SOURCE_VIP6,
    LIKE_VIP,
    LONGER_PREFIX,
    NO_VIP,
    NO_VIP6,
    OPEN_VIP,
    OPEN_VIP6,
    OWN_MAC,
    PREFIX,
    PREFIX6,
    SIP_VIP,
    SIP_VIP6,
    UNREADY_VIP,
    VIP,
    VIP6,
)

ETHERNET = Ether(dst=OWN_MAC.hex(":"), src="02:00:00:00:00:01")
OTHER_MACS = (
    "02:00:00:00:00:ab",
    "03:00:00:00:00:aa",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:05",
    "00:00:00:00:00:00",
)
SMALLEST_FRAME = 14
"""BPF_PROG_TEST_RUN takes nothing shorter."""
ADDRESSES = (VIP, BY_SOURCE_VIP, SIP_VIP, OPEN_VIP, UNREADY_VIP, BY_IPV6_VIP, NO_VIP)
ADDRESSES6 = (VIP6, BY_SOURCE_VIP6, SIP_VIP6, OPEN_VIP6, BY_IPV6_VIP6, NO_VIP6, LIKE_VIP)
IN_PREFIXES = (
    PREFIX[0],
    PREFIX[-1],
    *LONGER_PREFIX,
    BY_SOURCE_PREFIX[0],
    BY_SOURCE_PREFIX[9],
    PREFIX[-1] + 1,
)
IN_PREFIXES6 = (PREFIX6[0], PREFIX6[1 << 63], PREFIX6[-1], PREFIX6[-1] + 1)
EDGES = (0, 21, 22, 79, 80, 82, 399, 400, 443, 500, 501, 999, 1000, 1999, 7999, 8000, 8050, 8099, 8100, 65535)
"""Where one VIP's ports end and another's begin."""


def frame(packet: Packet) -> bytes:
    """Return the packet in an Ethernet frame."""
    return bytes(ETHERNET / packet)


def proper() -> Iterator[bytes]:
    """Flows to every VIP and beside them, with every kind of TCP flag, option, length and fragment."""
    chance = random.Random(1)
    for address, port, flags in product(
        ADDRESSES + ADDRESSES6, (80, 81, 443, 65535, 0), ("S", "SA", "A", "FA", "R", "SP")
    ):
        for _ in range(3):
            yield frame(_ip(chance, address) / _tcp(chance, port, flags))
    for address, port, _ in product(ADDRESSES + ADDRESSES6, (53, 80), range(15)):
        yield frame(_ip(chance, address) / UDP(sport=chance.randrange(65536), dport=port) / Raw(b"query"))


def of_many() -> Iterator[bytes]:
    """To VIPs of many addresses and ports, around their edges; and fragments, which name no port."""
    chance = random.Random(5)
    for address, port in product((VIP, SIP_VIP, *IN_PREFIXES, *IN_PREFIXES6), EDGES):
        for flags in ("S", "A"):
            yield frame(_ip(chance, address) / _tcp(chance, port, flags))
        yield frame(_ip(chance, address) / UDP(sport=chance.randrange(65536), dport=port) / Raw(b"query"))
    for address in IN_PREFIXES:
        yield from _fragments(chance, str(address), _tcp(chance, 80, "A"))
        yield frame(IP(src=_client(chance), dst=str(address), flags=1) / UDP(dport=53) / Raw(bytes(64)))
        yield frame(_ip(chance, address) / ICMP())
    for address in IN_PREFIXES6:
        yield from _fragments6(chance, address)


def odd() -> Iterator[bytes]:
    """Everything else that a network brings."""
    chance = random.Random(2)
    for address in ADDRESSES + ADDRESSES6:
        ip = _ip(chance, address)
        tcp = _tcp(chance, 80, "A")
        yield frame(ip / ICMP())
        yield frame(ip / ICMPv6EchoRequest())
        yield from messages(address)
        yield frame(ip / GRE() / IP() / tcp)
        yield from _tags(ip / tcp)
        yield frame(ip / tcp) + bytes(10)
        for mac in OTHER_MACS:
            yield bytes(Ether(dst=mac, src="02:00:00:00:00:01") / ip / tcp)
        yield from _sizes(ip, tcp)
    for address in ADDRESSES:
        yield from _with_options(chance, str(address), _tcp(chance, 80, "A"))
        yield from _fragments(chance, str(address), _tcp(chance, 80, "A"))
    for address in ADDRESSES6:
        yield from _with_headers(chance, address)
        yield from _fragments6(chance, address)
    yield bytes(ETHERNET / ARP())
    yield bytes(ETHERNET)


def _tags(packet: Packet) -> Iterator[bytes]:
    """IEEE 802.1Q and 802.1ad; a third tag is one too many."""
    for types in ((0x8100,), (0x88A8,), (0x88A8, 0x8100), (0x8100, 0x8100), (0x88A8, 0x8100, 0x8100)):
        tags = b"".join(struct.pack("!HH", each, 0x6005) for each in types)
        untagged = frame(packet)
        yield untagged[:12] + tags + untagged[12:]
        yield untagged[:12] + tags[:3]


def _with_headers(chance: random.Random, address: IPv6Address) -> Iterator[bytes]:
    """Extension headers one by one, all together, and one more than that; those that we do not walk."""
    options = PadN(optdata=bytes(10))
    kinds = (
        IPv6ExtHdrHopByHop(options=[options]),
        IPv6ExtHdrDestOpt(options=[options, options]),
        IPv6ExtHdrRouting(addresses=["2001:db8::2"], segleft=0),
        IPv6ExtHdrFragment(),
        AH(spi=1, seq=1, icv=bytes(12)),
        IPv6ExtHdrDestOpt(),
    )
    whole = _ip(chance, address)
    for kind in kinds:
        yield frame(_ip(chance, address) / kind / _tcp(chance, 80, "S"))
        yield frame(_ip(chance, address) / kind / UDP(dport=53))
        yield frame(_ip(chance, address) / kind / ICMPv6EchoRequest())
        whole = whole / kind
    yield frame(whole / _tcp(chance, 80, "A"))
    yield frame(whole / IPv6ExtHdrDestOpt() / _tcp(chance, 80, "A"))
    for protocol in (50, 59, 135, 139, 140):
        yield frame(IPv6(src=_client6(chance), dst=str(address), nh=protocol) / Raw(bytes(40)))


def _fragments6(chance: random.Random, address: IPv6Address) -> Iterator[bytes]:
    for more, offset in ((1, 0), (1, 5), (0, 185), (0, 0)):
        for _ in range(4):
            header = IPv6ExtHdrFragment(m=more, offset=offset, id=7)
            yield frame(_ip(chance, address) / header / _tcp(chance, 80, "A") / Raw(bytes(64)))
    yield frame(_ip(chance, address) / IPv6ExtHdrFragment(offset=185, nh=6))
    yield frame(_ip(chance, address) / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1, nh=17) / Raw(bytes(8)))


def _with_options(chance: random.Random, address: str, tcp: Packet) -> Iterator[bytes]:
    for count in (1, 4, 40):
        yield frame(IP(src=_client(chance), dst=address, options=[IPOption_NOP()] * count) / tcp)


def _fragments(chance: random.Random, address: str, tcp: Packet) -> Iterator[bytes]:
    for flags, offset in ((1, 0), (1, 5), (0, 185), (2, 0), (4, 0), (3, 0)):
        for _ in range(4):
            yield frame(IP(src=_client(chance), dst=address, flags=flags, frag=offset) / tcp / Raw(bytes(64)))
    yield frame(IP(src=_client(chance), dst=address, flags=0, frag=185, proto=6))


def _sizes(ip: Packet, tcp: Packet) -> Iterator[bytes]:
    """Around the next hop's MTU of 1500, which leaves 1476 without key and 1472 with one, and 20 less in IPv6."""
    for size in (1471, 1472, 1473, 1475, 1476, 1477, 1500, 3000):
        for less in (0, 20):
            yield frame(ip / tcp / Raw(bytes(size - less - len(ip / tcp))))
    large = tcp / Raw(bytes(2000))
    yield bytes(Ether(dst="03:00:00:00:00:aa") / ip / large)
    yield from _tags(ip / large)
    for source in NOBODY[ip.version]:
        nobody = ip.copy()
        nobody.src = source
        yield frame(nobody / large)
    for offset in (0, 7):
        if ip.version == 6:
            yield frame(ip / IPv6ExtHdrFragment(m=1, offset=offset) / large)
        else:
            yield frame(IP(src=ip.src, dst=ip.dst, flags="MF", frag=offset) / large)


def _client(chance: random.Random) -> str:
    return f"198.51.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def _client6(chance: random.Random) -> str:
    return str(IPv6Address(chance.randbytes(16)))


def _ip(chance: random.Random, address: IPv4Address | IPv6Address) -> Packet:
    traffic_class, number = chance.choice([0, 0, 0xB8, 3, 0xFF]), chance.randrange(65536)
    if isinstance(address, IPv6Address):
        return IPv6(src=_client6(chance), dst=str(address), tc=traffic_class, fl=number)
    return IP(src=_client(chance), dst=str(address), tos=traffic_class, id=number)


def _tcp(chance: random.Random, port: int, flags: str) -> Packet:
    return TCP(sport=chance.randrange(65536), dport=port, flags=flags, seq=chance.randrange(1 << 32))


def truncated(whole: bytes) -> Iterator[bytes]:
    """Every prefix of a frame."""
    return (whole[:size] for size in range(SMALLEST_FRAME, len(whole)))


def mutated(frames: list[bytes], count: int) -> Iterator[bytes]:
    """Frames with one to four bytes of their headers changed."""
    chance = random.Random(3)
    for _ in range(count):
        changed = bytearray(chance.choice(frames))
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(4, min(len(changed), 74))] = chance.choice(
                (0, 1, 0x45, 0xFF, chance.randrange(256))
            )
        yield bytes(changed)


def noise(count: int) -> Iterator[bytes]:
    """Frames of chance, half of them claiming to be IP, and half of them for us."""
    chance = random.Random(4)
    for _ in range(count):
        data = bytearray(chance.randbytes(chance.randrange(SMALLEST_FRAME, 200)))
        if chance.random() < 0.5:
            data[12:14] = chance.choice((b"\x08\x00", b"\x86\xdd"))
        if chance.random() < 0.5:
            data[:6] = OWN_MAC
        yield bytes(data)
