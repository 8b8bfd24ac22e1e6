"""Frames as nodes send them to a backend, byte by byte, with every field open to be wrong."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

ETHERNET = bytes.fromhex("0200000000b10200000000a1")
GRE, TCP, UDP, ICMP, ICMPV6, ESP = 47, 6, 17, 1, 58, 50
HOP_BY_HOP, ROUTING, FRAGMENT, AH, DESTINATION = 0, 43, 44, 51, 60
IPV4, IPV6 = 0x0800, 0x86DD
KEYED, MARKED, SETTLED = 0x2000, 0x0008, 0x0010

CLIENT = IPv4Address("198.51.100.7")
CLIENT6 = IPv6Address("2001:db8:c::7")
PORTS = struct.Struct("!HH")


def ports(
    destination: int, source: int = 40000, payload: bytes = b"hello, backend", flags: int = 0x10, seq: int = 0
) -> bytes:
    """Return a TCP header (or the start of a UDP one), followed by bytes that no parser looks at."""
    return (
        PORTS.pack(source, destination)
        + seq.to_bytes(4, "big")
        + bytes(4)
        + bytes([0x50, flags])
        + bytes(6)
        + payload
    )


def ipv4(
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    source: IPv4Address = CLIENT,
    options: bytes = b"",
    fragment: int = 0,
    identifier: int = 0,
    version: int = 4,
    total: int | None = None,
    header_words: int | None = None,
) -> bytes:
    """Return an IPv4 packet; `total` and `header_words` overrule the true lengths."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    length = 20 + len(options) + len(payload) if total is None else total
    head = struct.pack(
        "!BBHHHBBH4s4s", version << 4 | words, 0, length, identifier, fragment, 64, protocol, 0,
        source.packed, destination.packed,
    )  # fmt: skip
    return head + options + payload


def ipv6(
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
    version: int = 6,
    length: int | None = None,
    source: IPv6Address = CLIENT6,
    label: int = 0,
) -> bytes:
    """Return an IPv6 packet without extension headers."""
    size = len(payload) if length is None else length
    head = struct.pack("!IHBB", version << 28 | label, size, protocol, 64)
    return head + source.packed + destination.packed + payload


def chain(*following: int, offset: int = 0) -> bytes:
    """Return extension headers of 8 bytes; `following[n]` is what comes after the n-th of them.

    `offset`: of a fragment, with its flags; nothing to headers of other kinds that are as short.
    """
    return b"".join(struct.pack("!BBHI", each, 0, offset, 0) for each in following)


def tagged(frame: bytes, *types: int) -> bytes:
    """Return the frame with tags of these types, outermost first."""
    return frame[:12] + b"".join(struct.pack("!HH", each, 5) for each in types) + frame[12:]


def ethernet(payload: bytes, kind: int = IPV4) -> bytes:
    return ETHERNET + kind.to_bytes(2, "big") + payload


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a node wraps a packet: outer addresses, stamp, and GRE's fields."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    stamp: int = 0
    flags: int = 0
    key: int | None = None
    protocol: int = IPV4

    def frame(self, inner: bytes, **outer: int | bytes) -> bytes:
        """Return the frame that carries `inner`; `outer` overrules fields of the outer header."""
        flags = self.flags | (KEYED if self.key is not None else 0)
        gre = struct.pack("!HH", flags, self.protocol)
        if self.key is not None:
            gre += self.key.to_bytes(4, "big")
        fields: dict[str, Any] = {"source": self.source, **outer}
        if isinstance(self.destination, IPv6Address):
            fields.setdefault("label", self.stamp)
            return ethernet(ipv6(self.destination, GRE, gre + inner, **fields), IPV6)
        fields = {"fragment": 0x4000, "identifier": self.stamp, **fields}
        return ethernet(ipv4(self.destination, GRE, gre + inner, **fields))
