"""The Python model of decap.bpf.c: frame in; outcome and frame out.

Written from design.md §4 and §5 and the RFCs, not from the C.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

XDP_DROP, XDP_PASS = 1, 2
GRE_MUST_BE_ZERO = 0xFC07 & ~0x2000  # RFC 2784: bits 0-5 but for RFC 2890's key bit, and the version


@dataclass(frozen=True, slots=True)
class World:
    """What the backend knows: its tunnel's address, the fleet's sources, its VIPs and their stamps."""

    tunnel: IPv4Address
    sources: Collection[Address]
    stamps: dict[tuple[Address, int, int], int]

    @property
    def addresses(self) -> set[Address]:
        return {address for address, _, _ in self.stamps}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a frame; `frame` is what the stack gets, the frame as it came when it is dropped."""

    outcome: str
    frame: bytes

    @property
    def action(self) -> int:
        return XDP_DROP if self.outcome.startswith("drop") else XDP_PASS


class _OutcomeError(Exception):
    """Parsing ends here."""


@dataclass(slots=True)
class _Reader:
    """Bytes with an end that headers may move forward, never back."""

    data: bytes

    def take(self, size: int, otherwise: str) -> bytes:
        if len(self.data) < size:
            raise _OutcomeError(otherwise)
        head, self.data = self.data[:size], self.data[size:]
        return head

    def narrow(self, size: int) -> None:
        if size > len(self.data):
            raise _OutcomeError("drop_truncated")
        self.data = self.data[:size]


def judge(frame: bytes, world: World) -> Verdict:
    """Return what the backend does with `frame`."""
    try:
        outcome, stripped = _judge(frame, world)
    except _OutcomeError as end:
        return Verdict(str(end), frame)
    return Verdict(outcome, stripped if outcome.startswith("delivered") else frame)


def _judge(frame: bytes, world: World) -> tuple[str, bytes]:
    reader = _Reader(frame)
    if reader.take(14, "untouched")[12:] != b"\x08\x00":
        return "untouched", b""
    outer = reader.take(20, "untouched")
    if outer[9] != 47 or outer[16:20] != world.tunnel.packed:
        return "untouched", b""
    if outer[0] != 0x45 or _word(outer, 6) & 0x3FFF:
        return "drop_outer", b""
    if _word(outer, 2) < 20:
        return "drop_truncated", b""
    reader.narrow(_word(outer, 2) - 20)
    if IPv4Address(outer[12:16]) not in world.sources:
        return "drop_stranger", b""
    gre = reader.take(4, "drop_truncated")
    flags = _word(gre, 0)
    if flags & GRE_MUST_BE_ZERO:
        return "drop_gre", b""
    keyed = bool(flags & 0x2000)
    if keyed:
        reader.take(4, "drop_truncated")
    # What follows the outer packet in the frame (padding) stays: the stack cuts it off.
    stripped = frame[:12] + gre[2:4] + frame[14 + 20 + (8 if keyed else 4) :]
    service = _inner(reader, _word(gre, 2))
    return _decide(service, keyed, bool(flags & 0x0008), _word(outer, 4), world), stripped


def _inner(reader: _Reader, kind: int) -> tuple[Address, int, int]:
    if kind == 0x0800:
        return _inner_ipv4(reader)
    if kind == 0x86DD:
        return _inner_ipv6(reader)
    raise _OutcomeError("drop_inner")


def _inner_ipv4(reader: _Reader) -> tuple[Address, int, int]:
    head = reader.take(20, "drop_truncated")
    size, total = (head[0] & 15) * 4, _word(head, 2)
    if head[0] >> 4 != 4 or size < 20 or total < size:
        raise _OutcomeError("drop_inner")
    reader.narrow(total - 20)
    destination = IPv4Address(head[16:20])
    if _word(head, 6) & 0x3FFF:
        return destination, 0, 0
    reader.take(size - 20, "unreachable")
    return _with_port(reader, destination, head[9])


def _inner_ipv6(reader: _Reader) -> tuple[Address, int, int]:
    head = reader.take(40, "drop_truncated")
    if head[0] >> 4 != 6:
        raise _OutcomeError("drop_inner")
    reader.narrow(_word(head, 4))
    return _with_port(reader, IPv6Address(head[24:40]), head[6])


def _with_port(reader: _Reader, destination: Address, protocol: int) -> tuple[Address, int, int]:
    if protocol not in (6, 17):
        return destination, 0, 0
    return destination, protocol, _word(reader.take(4, "drop_truncated"), 2)


def _decide(service: tuple[Address, int, int], keyed: bool, marked: bool, stamp: int, world: World) -> str:
    if service not in world.stamps:
        return "delivered_portless" if service[0] in world.addresses else "drop_not_vip"
    if marked:
        return "delivered_marked"
    if keyed:
        return "delivered_keyed"
    return "delivered_in_sync" if stamp == world.stamps[service] else "delivered_other_epoch"


def _word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "big")
