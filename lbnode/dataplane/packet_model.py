"""Frames and IP packets as both programs read them, in Python: bytes in, fields or a fault out. Pure.

Written from IEEE 802.1Q and the RFCs 791, 8200, 9293 and 768, not from `lbnode/bpf`; `tests/bpf` runs both
over the same frames. The models of the two programs build on it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from lbnode.model.fleet import Protocol
from lbnode.model.ids import IPAddress
from ring.bucket import Flow

ETHERNET_SIZE, TAG_SIZE = 14, 4
ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
ETHERTYPES_OF_TAGS = (0x8100, 0x88A8)
MOST_TAGS = 2
IPV4_SIZE, IPV6_SIZE = 20, 40
ICMP = {4: 1, 6: 58}
GRE = 47
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS)
MOST_EXTENSIONS = 6
"""RFC 8200, 4.1: each once, destination options twice."""
EXTENSION_SIZE = 8
"""The least; and the fragment header's."""
TRANSPORT_SIZE = {Protocol.TCP: 20, Protocol.UDP: 8}
MORE_OR_OFFSET = {4: 0x3FFF, 6: 0xFFF9}
SYN, ACK = 0x02, 0x10


class Fault(Enum):
    """Why a packet has no meaning."""

    CUT = "ends before its IP header does"
    MALFORMED = "an IP header that contradicts itself"
    TRUNCATED = "ends before the length or the header that it names"
    MANY_HEADERS = "more extension headers than RFC 8200 has places for"


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame: `link` is the size of its header with the tags, `kind` the type of what follows."""

    data: bytes
    link: int
    kind: int

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        """Return the frame; `kind` is 0 when it ends within its tags."""
        link = ETHERNET_SIZE
        while word(data, link - 2) in ETHERTYPES_OF_TAGS and link < ETHERNET_SIZE + MOST_TAGS * TAG_SIZE:
            link += TAG_SIZE
            if len(data) < link:
                return cls(data, link, 0)
        return cls(data, link, word(data, link - 2))

    @property
    def payload(self) -> bytes:
        """What follows the header."""
        return self.data[self.link :]


class TcpHead(NamedTuple):
    """What the programs look at of a TCP header."""

    sequence: int
    acknowledged: int
    flags: int


_TCP = struct.Struct("!4xIIxB")


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet. `transport` is what follows all IP headers; with a `fault`, only the addresses are sure.

    `plain`: neither options nor extension headers. `tag`: IPv4's identification, the low 16 bits of IPv6's flow label.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    size: int
    dscp: int
    tag: int
    transport: bytes = b""
    plain: bool = True
    is_fragment: bool = False
    identification: int = 0
    """Of a fragment, and so is `offset`, in bytes."""
    offset: int = 0
    is_lent: bool = False
    """Its transport is that of its packet's first fragment."""
    fault: Fault | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.destination.version

    @property
    def ports(self) -> tuple[int, int] | None:
        """Source and destination port; None when the packet shows none."""
        if self.fault or self.is_fragment or self.protocol not in TRANSPORT_SIZE:
            return None
        return word(self.transport, 0), word(self.transport, 2)

    @property
    def flow(self) -> Flow:
        """What the packet's bucket depends on; ports are zero when it shows none."""
        client, port = self.ports or (0, 0)
        return Flow.between(self.source, client, self.destination, port, self.protocol)

    @property
    def tcp(self) -> TcpHead | None:
        """The head of TCP; None in all else, and in fragments and quotes, which show no numbers."""
        return None if self.is_lent else self._shown

    @property
    def _shown(self) -> TcpHead | None:
        if self.ports is None or self.protocol != Protocol.TCP or len(self.transport) < _TCP.size:
            return None
        return TcpHead(*_TCP.unpack_from(self.transport))

    @property
    def opens(self) -> bool:
        """SYN without ACK."""
        return self._shown is not None and self._shown.flags & (SYN | ACK) == SYN


def parse(kind: int, data: bytes) -> Packet | Fault:
    """Return the packet that an Ethernet type promises, or the fault that leaves nothing of it.

    `data` may be longer than the packet. `kind` must be one of IP's two.
    """
    found = _parse_ipv4(data) if kind == ETHERTYPE_IPV4 else _parse_ipv6(data)
    if isinstance(found, Fault) or found.fault or found.is_fragment:
        return found
    least = TRANSPORT_SIZE.get(Protocol(found.protocol), 0) if found.protocol in TRANSPORT_SIZE else 0
    return found if len(found.transport) >= least else replace(found, fault=Fault.TRUNCATED)


def _parse_ipv4(data: bytes) -> Packet | Fault:
    if len(data) < IPV4_SIZE:
        return Fault.CUT
    header, size = (data[0] & 0xF) * 4, word(data, 2)
    if data[0] >> 4 != 4 or header < IPV4_SIZE or size < header:
        return Fault.MALFORMED
    return Packet(
        source=IPv4Address(data[12:16]),
        destination=IPv4Address(data[16:20]),
        protocol=data[9],
        size=size,
        dscp=data[1] & 0xFC,
        tag=word(data, 4),
        transport=data[header:size],
        plain=header == IPV4_SIZE,
        is_fragment=bool(word(data, 6) & MORE_OR_OFFSET[4]),
        identification=word(data, 4),
        offset=(word(data, 6) & 0x1FFF) * 8,
        fault=Fault.TRUNCATED if size > len(data) else None,
    )


def _parse_ipv6(data: bytes) -> Packet | Fault:
    if len(data) < IPV6_SIZE:
        return Fault.CUT
    if data[0] >> 4 != 6:
        return Fault.MALFORMED
    size = IPV6_SIZE + word(data, 4)
    packet = Packet(
        source=IPv6Address(data[8:24]),
        destination=IPv6Address(data[24:40]),
        protocol=data[6],
        size=size,
        dscp=word(data, 0) >> 4 & 0xFC,
        tag=word(data, 2),
        transport=data[IPV6_SIZE:size],
        plain=data[6] not in EXTENSIONS,
    )
    return replace(packet, fault=Fault.TRUNCATED) if size > len(data) else without_extensions(packet)


def without_extensions(packet: Packet, fragment: int = MORE_OR_OFFSET[6]) -> Packet:
    """Return what lies behind the extension headers, or behind the fragment header of a fragment.

    `fragment`: the bits of a fragment header of which one is set in what counts as a fragment.
    """
    for _ in range(MOST_EXTENSIONS):
        if packet.protocol not in EXTENSIONS:
            return packet
        head = packet.transport
        if len(head) < EXTENSION_SIZE:
            return replace(packet, protocol=packet.protocol, fault=Fault.TRUNCATED)
        is_fragment = packet.protocol == FRAGMENT and word(head, 2) & fragment != 0
        size = _extension_size(packet.protocol, head[1])
        packet = replace(packet, protocol=head[0], transport=head[size:], is_fragment=is_fragment)
        if is_fragment:
            return replace(packet, identification=_long(head, 4), offset=word(head, 2) & 0xFFF8)
        if size > len(head):
            return replace(packet, fault=Fault.TRUNCATED)
    many = packet.protocol in EXTENSIONS
    return replace(packet, fault=Fault.MANY_HEADERS) if many else packet


def _extension_size(protocol: int, field: int) -> int:
    if protocol == FRAGMENT:
        return EXTENSION_SIZE
    return (field + 2) * 4 if protocol == AUTHENTICATION else (field + 1) * 8


def checksum(data: bytes) -> int:
    """Return the internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _long(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "big")


def word(data: bytes, offset: int) -> int:
    """Return the two bytes at `offset` as a number."""
    return int.from_bytes(data[offset : offset + 2], "big")
