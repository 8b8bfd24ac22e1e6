"""Frames for the node's program: proper ones, odd ones, and what chance makes of them. Always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.bpf.node_world import BY_SOURCE_VIP, NO_VIP, OPEN_VIP, OWN_MAC, SIP_VIP, UNREADY_VIP, VIP

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
ADDRESSES = (VIP, BY_SOURCE_VIP, SIP_VIP, OPEN_VIP, UNREADY_VIP, NO_VIP)


def frame(packet: Packet) -> bytes:
    """Return the packet in an Ethernet frame."""
    return bytes(ETHERNET / packet)


def proper() -> Iterator[bytes]:
    """Flows to every VIP and beside them, with every kind of TCP flag, option, length and fragment."""
    chance = random.Random(1)
    for address, port, flags in product(
        ADDRESSES, (80, 81, 443, 65535, 0), ("S", "SA", "A", "FA", "R", "SP")
    ):
        for _ in range(3):
            yield frame(_ip(chance, address) / _tcp(chance, port, flags))
    for address, port, _ in product(ADDRESSES, (53, 80), range(15)):
        yield frame(_ip(chance, address) / UDP(sport=chance.randrange(65536), dport=port) / Raw(b"query"))


def odd() -> Iterator[bytes]:
    """Everything else that a network brings."""
    chance = random.Random(2)
    for address in ADDRESSES:
        ip = _ip(chance, address)
        tcp = _tcp(chance, 80, "A")
        yield frame(ip / ICMP())
        yield frame(ip / ICMP(type=3, code=4) / IP(src=str(address)) / UDP())
        yield frame(ip / GRE() / IP() / tcp)
        yield bytes(ETHERNET / Dot1Q(vlan=5) / ip / tcp)
        yield frame(ip / tcp) + bytes(10)
        for mac in OTHER_MACS:
            yield bytes(Ether(dst=mac, src="02:00:00:00:00:01") / ip / tcp)
        yield from _with_options(chance, str(address), tcp)
        yield from _fragments(chance, str(address), tcp)
        yield from _sizes(ip, tcp)
    yield bytes(ETHERNET / IPv6(dst="2001:db8::1") / _tcp(chance, 80, "S"))
    yield bytes(ETHERNET / ARP())
    yield bytes(ETHERNET)


def _with_options(chance: random.Random, address: str, tcp: Packet) -> Iterator[bytes]:
    for count in (1, 4, 40):
        yield frame(IP(src=_client(chance), dst=address, options=[IPOption_NOP()] * count) / tcp)


def _fragments(chance: random.Random, address: str, tcp: Packet) -> Iterator[bytes]:
    for flags, offset in ((1, 0), (1, 5), (0, 185), (2, 0), (4, 0), (3, 0)):
        for _ in range(4):
            yield frame(IP(src=_client(chance), dst=address, flags=flags, frag=offset) / tcp / Raw(bytes(64)))
    yield frame(IP(src=_client(chance), dst=address, flags=0, frag=185, proto=6))


def _sizes(ip: Packet, tcp: Packet) -> Iterator[bytes]:
    """Around the next hop's MTU of 1500, which leaves 1476 without key and 1472 with one."""
    for size in (1471, 1472, 1473, 1475, 1476, 1477, 1500, 3000):
        yield frame(ip / tcp / Raw(bytes(size - 40)))


def _client(chance: random.Random) -> str:
    return f"198.51.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def _ip(chance: random.Random, address: object) -> Packet:
    return IP(
        src=_client(chance),
        dst=str(address),
        tos=chance.choice([0, 0, 0xB8, 3, 0xFF]),
        id=chance.randrange(65536),
    )


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
            changed[chance.randrange(4, min(len(changed), 54))] = chance.choice(
                (0, 1, 0x45, 0xFF, chance.randrange(256))
            )
        yield bytes(changed)


def noise(count: int) -> Iterator[bytes]:
    """Frames of chance, half of them claiming to be IPv4, and half of them for us."""
    chance = random.Random(4)
    for _ in range(count):
        data = bytearray(chance.randbytes(chance.randrange(SMALLEST_FRAME, 200)))
        if chance.random() < 0.5:
            data[12:14] = b"\x08\x00"
        if chance.random() < 0.5:
            data[:6] = OWN_MAC
        yield bytes(data)
