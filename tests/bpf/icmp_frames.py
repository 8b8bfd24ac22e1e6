"""ICMP to a VIP's address: echo requests, errors that quote a backend's packet in every shape, and the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lbnode.model.ids import IPAddress
from tests.bpf.node_world import OWN_MAC

ETHERNET = Ether(dst=OWN_MAC.hex(":"), src="02:00:00:00:00:01")
ROUTER = {4: "203.0.113.1", 6: "2001:db8:f::1"}
ASKER = {4: "198.51.100.9", 6: "2001:db8:9::9"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8:9::7"}
NOBODY = {
    4: ("0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"),
    6: ("::", "::1", "ff02::1", "ff0e::5"),
}
STRANGER: dict[int, IPAddress] = {4: IPv4Address("192.0.2.98"), 6: IPv6Address("2001:db8:77::1")}
KINDS = {
    4: (ICMP(type=3, code=4, nexthopmtu=1400), ICMP(type=3, code=3), ICMP(type=11), ICMP(type=12)),
    6: (ICMPv6PacketTooBig(mtu=1400), ICMPv6DestUnreach(code=4), ICMPv6TimeExceeded(), ICMPv6ParamProblem()),
}
"""Errors; the first says "too big"."""
OTHERS: dict[int, list[Packet]] = {
    4: [ICMP(type=kind) for kind in (0, 4, 5, 9, 10, 13, 15, 17, 255)],
    6: [ICMPv6Unknown(type=kind) for kind in (0, 5, 100, 127, 129, 130, 133, 134, 135, 136, 137, 255)],
}


def echo(address: IPAddress, payload: bytes = b"ping", source: str = "", rest: int = 0) -> bytes:
    """Return an echo request. `rest`: bytes of IPv4 options, or an IPv6 header of so many bytes of options."""
    source = source or ASKER[address.version]
    if address.version == 4:
        ip = IP(src=source, dst=str(address), id=77, tos=0xB8, flags="DF", options=[IPOption_NOP()] * rest)
        return bytes(ETHERNET / ip / ICMP(id=9, seq=1) / Raw(payload))
    head: Packet = IPv6(src=source, dst=str(address), tc=0xB9, fl=77)
    if rest:
        head /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(rest))])
    return bytes(ETHERNET / head / ICMPv6EchoRequest(id=9, seq=1, data=payload))


def sent(address: IPAddress, transport: Packet, client: str = "", **fields: Any) -> bytes:
    """Return a packet as a backend sends it to its client."""
    client = client or CLIENT[address.version]
    if address.version == 4:
        return bytes(IP(src=str(address), dst=client, ttl=3, **fields) / transport / Raw(bytes(40)))
    return bytes(IPv6(src=str(address), dst=client, hlim=3) / transport / Raw(bytes(40)))


def error(address: IPAddress, quote: bytes, kind: Packet | None = None, rest: int = 0) -> bytes:
    """Return a router's error about `quote`. `rest`: as of `echo`."""
    kind = (kind or KINDS[address.version][0]).copy()
    if address.version == 4:
        head: Packet = IP(src=ROUTER[4], dst=str(address), options=[IPOption_NOP()] * rest)
    else:
        head = IPv6(src=ROUTER[6], dst=str(address))
        if rest:
            head /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(rest))])
    return bytes(ETHERNET / head / kind / Raw(quote))


def messages(address: IPAddress) -> Iterator[bytes]:
    """Everything of ICMP that may come to an address."""
    chance, version = random.Random(int(address)), address.version
    for rest, size in product((0, 1, 4, 40), (0, 1, 56, 1400)):
        yield echo(address, chance.randbytes(size), rest=rest)
    for source in NOBODY[version]:
        yield echo(address, source=source)
    whole = echo(address)
    tags = bytes.fromhex("88a80007810060f0")
    yield from (whole[:12] + tags[-size:] + whole[12:] for size in (4, 8))
    for message in OTHERS[version]:
        ip = IP if version == 4 else IPv6
        head = ip(src=ROUTER[version], dst=str(address))
        yield bytes(ETHERNET / head / message)
    yield from errors(address, chance)
    yield whole[: len(whole) - 10]


def client_of(version: int, chance: random.Random) -> str:
    """Return the address of a client."""
    if version == 6:
        return str(IPv6Address((0x20010DB8 << 96) + chance.randrange(1 << 64)))
    return f"198.51.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def errors(address: IPAddress, chance: random.Random) -> Iterator[bytes]:
    """Errors about flows of every VIP of the address, about none, and cut short everywhere."""
    version = address.version
    transports: list[Packet] = [
        TCP(sport=port, dport=chance.randrange(65536), flags="A") for port in (80, 81, 443, 65535)
    ]
    transports += [UDP(sport=port, dport=chance.randrange(65536)) for port in (53, 80)]
    for transport, kind, _ in product(transports, KINDS[version], range(3)):
        yield error(address, sent(address, transport, client_of(version, chance)), kind)
    client, tcp = client_of(version, chance), transports[0]
    whole = sent(address, tcp, client)
    for size in range(len(whole)):
        yield error(address, whole[:size])
    yield from _odd_quotes(address, tcp, client) if version == 4 else _odd_quotes6(address, tcp, client)
    yield error(address, whole, rest=4)
    yield error(address, sent(STRANGER[version], tcp, client))
    yield error(address, sent(address, ICMP(type=0) if version == 4 else ICMPv6EchoReply(), client))
    for first in (0x15, 0x44, 0x55, 0x65, 0x75):
        yield error(address, bytes((first,)) + whole[1:])
    yield error(address, whole + bytes(1440))


def _odd_quotes(address: IPAddress, tcp: Packet, client: str) -> Iterator[bytes]:
    yield error(address, sent(address, tcp, client, options=[IPOption_NOP()] * 8))
    yield error(address, sent(address, tcp, client, options=[IPOption_NOP()] * 40)[:62])
    for flags, offset in (("MF", 0), ("MF", 5), (0, 185)):
        yield error(address, sent(address, tcp, client, flags=flags, frag=offset))


def _odd_quotes6(address: IPAddress, tcp: Packet, client: str) -> Iterator[bytes]:
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(10))])
    yield error(address, sent(address, options / tcp, client))
    yield error(address, sent(address, IPv6ExtHdrHopByHop() / options / tcp, client))
    whole = sent(address, options / options / options / tcp, client)
    yield from (error(address, whole[:size]) for size in range(38, 110))
    many = options / options / options / options / options / options
    yield error(address, sent(address, many / tcp, client))
    yield error(address, sent(address, many / options / tcp, client))
    for more, offset in ((0, 0), (1, 0), (1, 5), (0, 185)):
        yield error(address, sent(address, IPv6ExtHdrFragment(m=more, offset=offset) / tcp, client))
        yield error(address, sent(address, IPv6ExtHdrFragment(m=more, offset=offset) / options / tcp, client))
