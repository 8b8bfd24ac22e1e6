"""Headers byte by byte, with every field open to be wrong. Addresses are packed: 4 bytes IPv4, 16 bytes IPv6."""

from __future__ import annotations

import struct

ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
IPV4, IPV6, ARP, VLAN, OUTER_VLAN = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
KEYED, MARKED, SETTLED = 0x2000, 0x0008, 0x0010
ETHERNET_SIZE, MACS_SIZE, TAG_SIZE = 14, 12, 4

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")


def ethernet(payload: bytes, kind: int, to: bytes, sender: bytes = b"\x02\0\0\0\0\x01") -> bytes:
    return to + sender + kind.to_bytes(2, "big") + payload


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """Return the frame with tags, outermost first: each the type and what it says of priority and VLAN."""
    return frame[:MACS_SIZE] + b"".join(struct.pack("!HH", *tag) for tag in tags) + frame[MACS_SIZE:]


def ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    tos: int = 0,
    identifier: int = 0,
    fragment: int = 0,
    options: bytes = b"",
    start: int | None = None,
    size: int | None = None,
) -> bytes:
    """Return an IPv4 packet; `start` (version and header length) and `size` overrule what is true."""
    first = 0x45 + len(options) // 4 if start is None else start
    length = 20 + len(options) + len(payload) if size is None else size
    head = _IPV4.pack(first, tos, length, identifier, fragment, 64, protocol, 0, source, destination)
    return head + options + payload


def ipv6(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    tos: int = 0,
    label: int = 0,
    version: int = 6,
    size: int | None = None,
) -> bytes:
    """Return an IPv6 packet; `version` and `size` (of the payload) overrule what is true."""
    length = len(payload) if size is None else size
    return _IPV6.pack(version << 28 | tos << 20 | label, length, protocol, 64, source, destination) + payload


def tcp(
    source: int, destination: int, flags: int, payload: bytes = b"", sequence: int = 1, acknowledged: int = 1
) -> bytes:
    return _TCP.pack(source, destination, sequence, acknowledged, 0x50, flags, 512, 0, 0) + payload


def udp(source: int, destination: int, payload: bytes = b"") -> bytes:
    return _UDP.pack(source, destination, 8 + len(payload), 0) + payload


def gre(protocol: int, flags: int = 0, key: int | None = None) -> bytes:
    """Return GRE; a key sets its flag."""
    if key is None:
        return struct.pack("!HH", flags, protocol)
    return struct.pack("!HHI", flags | KEYED, protocol, key)
