"""ICMP at a VIP's address in Python: what a message is, whose flow an error quotes, and what the node answers. Pure.

Written from the RFCs: 792, 1191, 1812 §4.3, 4443 and 8201. Takes and returns whole IP packets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from lbnode.dataplane.packet_model import (
    ICMP,
    IPV4_SIZE,
    IPV6_SIZE,
    TRANSPORT_SIZE,
    Fault,
    Frame,
    Packet,
    checksum,
    parse,
    without_extensions,
    word,
)
from lbnode.model.ids import IPAddress

ICMP_SIZE = 8
HEADER_SIZE = {4: IPV4_SIZE, 6: IPV6_SIZE}
LARGEST_ERROR = {4: 576, 6: 1280}
"""RFC 1812 §4.3.2.3; RFC 4443 §2.4 (c)."""
OFFSET = {4: 0x1FFF, 6: 0xFFF8}
DO_NOT_FRAGMENT = 0x4000
HOPS = 64
CONTROL = 0xC0
"""Type of service of an error (RFC 1812 §4.3.2.5)."""


class Kind(Enum):
    """What a message asks for."""

    ECHO = "echo"
    ERROR = "error"
    OTHER = "other"


ECHO_REQUEST, ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}


@dataclass(frozen=True, slots=True)
class Quote:
    """The flow that an error is about. `ports`: client's and VIP's; None of a fragment that shows none."""

    client: IPAddress
    protocol: int
    ports: bytes | None


def kind_of(message: bytes, version: int) -> Kind:
    """Return what a message of at least 8 bytes is."""
    if message[0] == ECHO_REQUEST[version]:
        return Kind.ECHO
    return Kind.ERROR if message[0] in ERRORS[version] else Kind.OTHER


def is_error(packet: Packet) -> bool:
    """Return whether `packet` is a whole ICMP error."""
    if packet.is_fragment or packet.protocol != ICMP[packet.version] or len(packet.transport) < ICMP_SIZE:
        return False
    return kind_of(packet.transport, packet.version) is Kind.ERROR


def turned(error: Packet) -> Packet | None:
    """Return a packet of the flow that `error` quotes, as a client sends it; None when it is none of the VIP's.

    Size and type of service stay those of the error.
    """
    quote = quoted(error.transport, error.destination)
    if quote is None:
        return None
    return replace(
        error,
        source=quote.client,
        protocol=quote.protocol,
        transport=quote.ports or b"",
        is_fragment=quote.ports is None,
    )


def quoted(message: bytes, vip: IPAddress) -> Quote | None:
    """Return the flow that an error quotes, None when it is none of TCP or UDP that `vip` sends from."""
    data = message[ICMP_SIZE:]
    found = _quoted_ipv4(data) if vip.version == 4 else _quoted_ipv6(data)
    if found is None or found.fault or found.source != vip or found.protocol not in TRANSPORT_SIZE:
        return None
    if found.is_fragment:
        return Quote(found.destination, found.protocol, None)
    if len(found.transport) < 4:
        return None
    return Quote(found.destination, found.protocol, found.transport[2:4] + found.transport[:2])


def _quoted_ipv4(data: bytes) -> Packet | None:
    header = (data[0] & 15) * 4 if data else 0
    if len(data) < max(header, IPV4_SIZE) or data[0] >> 4 != 4 or header < IPV4_SIZE:
        return None
    source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    is_later = bool(word(data, 6) & OFFSET[4])
    return Packet(source, destination, data[9], 0, 0, 0, data[header:], is_fragment=is_later)


def _quoted_ipv6(data: bytes) -> Packet | None:
    if len(data) < IPV6_SIZE or data[0] >> 4 != 6:
        return None
    source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    whole = Packet(source, destination, data[6], 0, 0, 0, data[IPV6_SIZE:])
    return without_extensions(whole, OFFSET[6])


def is_answerable(frame: bytes, source: IPAddress) -> bool:
    """Return whether `frame` came to this host alone, from a host (RFC 1122 §3.2.2, RFC 4443 §2.4 (e))."""
    if frame[0] & 1:
        return False
    first = source.packed[0]
    if source.version == 4:
        return 0 < first < 224 and first != 127
    return first != 0xFF and int(source) > 1


def may_be_quoted(frame: Frame) -> bool:
    """Return whether an error may be sent about what `frame` holds: no ICMP, and in IPv4 no later fragment."""
    packet = parse(frame.kind, frame.payload)
    if isinstance(packet, Fault) or packet.protocol == ICMP[packet.version]:
        return False
    return packet.version == 6 or not word(frame.payload, 6) & OFFSET[4]


def echo_reply(packet: Packet, data: bytes) -> bytes:
    """Return the answer to the echo request that `data` holds: without its options and extension headers.

    Its checksum is as right or wrong as it was.
    """
    reply = ECHO_REPLY[packet.version]
    total = (~word(packet.transport, 2) & 0xFFFF) + (~(packet.transport[0] << 8) & 0xFFFF) + (reply << 8)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    message = (
        bytes([reply, packet.transport[1]]) + (~total & 0xFFFF).to_bytes(2, "big") + packet.transport[4:]
    )
    label = int.from_bytes(data[:4], "big") & 0xFFFFF
    return _header(packet, data, len(message), packet.dscp, label) + message


def too_big(packet: Packet, data: bytes, room: int) -> bytes:
    """Return "too big" about `packet`: what fits, and as many whole words of it as may be quoted."""
    version = packet.version
    most = LARGEST_ERROR[version] - HEADER_SIZE[version] - ICMP_SIZE
    quote = data[: min(packet.size, most) & ~3]
    message = struct.pack("!BBHI", *TOO_BIG[version], 0, room) + quote
    head = _header(packet, data, len(message), CONTROL, 0)
    pseudo = head[8:40] + struct.pack("!II", len(message), ICMP[6]) if version == 6 else b""
    return head + message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]


def sent_back(frame: Frame, packet: bytes, padding: bytes = b"") -> bytes:
    """Return `packet` in a frame back to where `frame` came from, by the same tags."""
    return frame.data[6:12] + frame.data[:6] + frame.data[12 : frame.link] + packet + padding


def _header(packet: Packet, data: bytes, size: int, tos: int, label: int) -> bytes:
    """Return the IP header of an answer of `size` bytes."""
    ends = packet.destination.packed + packet.source.packed
    if packet.version == 6:
        return struct.pack("!IHBB", 6 << 28 | tos << 20 | label, size, ICMP[6], HOPS) + ends
    fragment = word(data, 6) & DO_NOT_FRAGMENT
    size += IPV4_SIZE
    head = struct.pack("!BBH2sHBBH", 0x45, tos, size, data[4:6], fragment, HOPS, ICMP[4], 0) + ends
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
