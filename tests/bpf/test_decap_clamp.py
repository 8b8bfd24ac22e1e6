"""The MSS clamp on a backend's way out: what leaves fits the tunnel, its checksum holds, the rest is left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from lbnode.dataplane.backend import CLAMP_OBJECT
from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject, Program
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.prefixes import Prefix
from lbnode.dataplane.vip_records import VipRecords, write_directory
from tests.bpf import decap_world
from tests.bpf.decap_frames import IPV6, UDP, ethernet, ipv4, ipv6

VIP = IPv4Address("192.0.2.80")
VIP6 = IPv6Address("2001:db8::80")
OTHER = IPv4Address("10.0.0.2")
CLIENT = IPv4Address("198.51.100.7")
CLIENT6 = IPv6Address("2001:db8:c::9")

TC_ACT_UNSPEC = 0xFFFFFFFF
SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10
LIMIT, LIMIT6 = 1432, 1412


def mss(value: int) -> bytes:
    return b"\x02\x04" + value.to_bytes(2, "big")


LINUX = mss(1460) + b"\x04\x02" + b"\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(
    source: bytes, destination: bytes, flags: int, options: bytes, payload: bytes = b"", port: int = 80
) -> bytes:
    """Return a TCP segment with a true checksum; options are padded to whole words."""
    options += bytes(-len(options) % 4)
    size = 20 + len(options)
    numbers = bytes.fromhex("9c400102030405060708")
    head = port.to_bytes(2, "big") + numbers + bytes([size // 4 << 4, flags]) + b"\xff\xff" + bytes(4)
    pseudo = source + destination + bytes([0, 6]) + (size + len(payload)).to_bytes(2, "big")
    total = checksum(pseudo + head + options + payload)
    return head[:16] + total.to_bytes(2, "big") + head[18:] + options + payload


def frame(
    flags: int,
    options: bytes,
    source: IPv4Address = VIP,
    payload: bytes = b"",
    ip_options: bytes = b"",
    port: int = 80,
) -> bytes:
    segment = tcp(source.packed, CLIENT.packed, flags, options, payload, port)
    return ethernet(ipv4(CLIENT, 6, segment, source=source, options=ip_options))


def frame6(flags: int, options: bytes, port: int = 80) -> bytes:
    segment = tcp(VIP6.packed, CLIENT6.packed, flags, options, port=port)
    packet = ipv6(CLIENT6, 6, segment)
    return ethernet(packet[:8] + VIP6.packed + packet[24:], kind=IPV6)


@pytest.fixture(scope="module")
def clamp() -> Iterator[Program]:
    with BpfObject.open(CLAMP_OBJECT) as loaded:
        layout = Layout.of(loaded.btf)
        loaded.load()
        know(
            NodeMemory({name: loaded.map(name) for name in MAPS}, layout),
            f"{VIP}/32",
            f"{VIP6}/128",
            "203.0.113.0/28",
        )
        yield loaded.program("clamp")


def know(memory: NodeMemory, *networks: str) -> None:
    """Write which addresses are ours, of both families (`Vips` knows IPv4 alone as yet)."""
    records = VipRecords(memory.layout.constants)
    prefixes = [Prefix(ip_network(network), False, (), {}) for network in networks]
    places, _ = records.prefixes(prefixes)
    record = memory.prefixes[int(memory.chosen_directory[0])]
    write_directory(record["directory"], records.directory(places), places)
    records.write_lengths(record, prefixes)


def passed(clamp: Program, data: bytes) -> bytes:
    run = clamp.test_run(data)
    assert run.retval == TC_ACT_UNSPEC
    return run.data


@pytest.mark.parametrize("flags", [SYN, SYN_ACK, SYN_ACK | 0xC0])
@pytest.mark.parametrize("before", [b"", b"\x01", b"\x01\x01", b"\x04\x02", b"\x01" * 36])
def test_a_larger_mss_is_lowered_wherever_it_stands(clamp: Program, flags: int, before: bytes) -> None:
    assert passed(clamp, frame(flags, before + mss(1460))) == frame(flags, before + mss(LIMIT))


@pytest.mark.parametrize(
    ("address", "limit"), [("203.0.113.0", LIMIT), ("203.0.113.15", LIMIT), ("203.0.113.16", 1460)]
)
def test_every_address_of_a_prefix_is_a_vips(clamp: Program, address: str, limit: int) -> None:
    source = IPv4Address(address)
    assert passed(clamp, frame(SYN_ACK, mss(1460), source)) == frame(SYN_ACK, mss(limit), source)


def test_the_options_of_a_linux_syn_ack_are_kept(clamp: Program) -> None:
    assert passed(clamp, frame(SYN_ACK, LINUX)) == frame(SYN_ACK, mss(LIMIT) + LINUX[4:])


@pytest.mark.parametrize(("port", "less"), [(80, 0), (84, 20), (99, 0)])
def test_what_is_answered_through_ipv6_tunnels_offers_20_less(tmp_path: Path, port: int, less: int) -> None:
    """At a path of 1500: IPv4 in IPv6 1412, IPv6 in IPv6 1392 (design.md §4)."""
    with decap_world.backend_of(decap_world.model(), tmp_path / "bpf") as plane:
        program = plane.load_clamp(1500)
        assert passed(program, frame(SYN_ACK, mss(1460), port=port)) == frame(
            SYN_ACK, mss(1432 - less), port=port
        )
        assert passed(program, frame6(SYN_ACK, mss(1440), port)) == frame6(SYN_ACK, mss(1412 - less), port)
        program.close()


def test_ipv6_has_its_own_limit(clamp: Program) -> None:
    assert passed(clamp, frame6(SYN_ACK, LINUX)) == frame6(SYN_ACK, mss(LIMIT6) + LINUX[4:])


def test_ip_options_do_not_hide_the_segment(clamp: Program) -> None:
    options = b"\x01" * 8
    wanted = frame(SYN_ACK, mss(LIMIT), ip_options=options)
    assert passed(clamp, frame(SYN_ACK, mss(1460), ip_options=options)) == wanted


UNCHANGED = {
    "an MSS that fits": frame(SYN_ACK, mss(LIMIT)),
    "a smaller MSS": frame(SYN_ACK, mss(536)),
    "a segment without SYN": frame(ACK, mss(1460)),
    "an address that is no VIP": frame(SYN_ACK, mss(1460), source=OTHER),
    "no options": frame(SYN_ACK, b""),
    "options without MSS": frame(SYN_ACK, b"\x01\x01\x04\x02"),
    "an MSS behind the end of options": frame(SYN_ACK, b"\x00\x01" + mss(1460)),
    "an MSS of a wrong length": frame(SYN_ACK, b"\x02\x06" + b"\x05\xb4\0\0"),
    "an MSS cut off by the end": frame(SYN_ACK, b"\x01\x01\x02\x04"),
    "an option of length zero": frame(SYN_ACK, b"\x04\x00" + mss(1460)),
    "an option of length one": frame(SYN_ACK, b"\x04\x01" + mss(1460)),
    "an option beyond the header": frame(SYN_ACK, b"\x05\xff" + mss(1460)),
    "bytes of the payload that look like an MSS": frame(SYN_ACK, b"", payload=mss(1460)),
    "UDP": ethernet(ipv4(CLIENT, UDP, tcp(VIP.packed, CLIENT.packed, SYN, mss(1460)), source=VIP)),
    "ARP": ethernet(bytes(46), kind=0x0806),
}


@pytest.mark.parametrize("data", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_it_leaves_alone(clamp: Program, data: bytes) -> None:
    assert passed(clamp, data) == data


def test_random_options_never_break_a_checksum_nor_raise_an_mss(clamp: Program) -> None:
    chance = random.Random(1432)
    words = (
        b"\x01",
        b"\x00",
        b"\x04\x02",
        mss(1460),
        mss(9000),
        mss(500),
        b"\x08\x0a" + bytes(8),
        b"\x03\x03\x07",
    )
    lowered = 0
    for _ in range(3000):
        options = b"".join(chance.choice(words) for _ in range(chance.randint(0, 8)))[: chance.randint(0, 40)]
        before = frame(SYN_ACK, options)
        after = passed(clamp, before)
        lowered += after != before
        assert valid(after)
        assert after == frame(SYN_ACK, clamped(options))
    assert lowered > 500


def valid(data: bytes) -> bool:
    """Whether the TCP checksum of an IPv4 frame without options holds."""
    segment = data[34:]
    return (
        checksum(VIP.packed + CLIENT.packed + bytes([0, 6]) + len(segment).to_bytes(2, "big") + segment) == 0
    )


def clamped(options: bytes) -> bytes:
    """The model: walk the options as RFC 9293 says, and lower the first MSS."""
    padded = options + bytes(-len(options) % 4)
    at = 0
    while at < len(padded) and padded[at] != 0:
        if padded[at] == 1:
            at += 1
            continue
        size = padded[at + 1] if at + 1 < len(padded) else 0
        if size < 2 or at + size > len(padded):
            break
        if padded[at] == 2 and size == 4:
            value = min(int.from_bytes(padded[at + 2 : at + 4], "big"), LIMIT)
            return padded[:at] + mss(value) + padded[at + 4 :]
        at += size
    return padded
