"""The backend's decapsulation, through the real verifier and kernel, against its model: byte by byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from lbnode.dataplane.backend import DECAP_OBJECT
from lbnode.dataplane.backend_layout import (
    COUNTER,
    Service,
    outcome_names,
    pack_address,
    pack_services,
)
from lbnode.dataplane.libbpf import BpfObject, Map, Program
from tests.bpf.decap_frames import (
    ICMP,
    IPV6,
    MARKED,
    TCP,
    UDP,
    Tunnel,
    ethernet,
    ipv4,
    ipv6,
    ports,
)
from tests.bpf.decap_model import XDP_DROP, XDP_PASS, Verdict, World, judge

SELF = IPv4Address("10.0.0.2")
NODE = IPv4Address("10.0.0.1")
STRANGER = IPv4Address("10.0.0.66")
VIP = IPv4Address("192.0.2.80")
VIP6 = IPv6Address("2001:db8::80")
STAMP = 0xBEEF

WORLD = World(
    tunnel=SELF,
    sources={NODE},
    stamps={(VIP, TCP, 80): STAMP, (VIP, UDP, 53): STAMP + 1, (VIP6, TCP, 80): STAMP},
)
WRAP = Tunnel(NODE, SELF, stamp=STAMP)
STAMPED_NEXT = replace(WRAP, stamp=STAMP + 1)
WRAP6 = replace(WRAP, protocol=IPV6)
INNER = ipv4(VIP, TCP, ports(80))
INNER6 = ipv6(VIP6, TCP, ports(80))


class Decapsulation:
    """The loaded program on maps that hold WORLD."""

    def __init__(self, loaded: BpfObject) -> None:
        self._program: Program = loaded.program("decap")
        self._counters: Map = loaded.map("counters")
        self._names = outcome_names(loaded.btf)

    def counts(self) -> dict[str, tuple[int, int]]:
        found = {}
        for index, name in enumerate(self._names):
            each = list(COUNTER.iter_unpack(self._counters.lookup(index) or b""))
            found[name] = (sum(packets for packets, _ in each), sum(size for _, size in each))
        return found

    def run(self, frame: bytes) -> Verdict:
        """Return what the kernel did; exactly one counter must have moved, by one packet of that size."""
        before = self.counts()
        run = self._program.test_run(frame)
        moved = {
            name: (packets - before[name][0], size - before[name][1])
            for name, (packets, size) in self.counts().items()
            if packets != before[name][0]
        }
        (outcome,) = moved
        assert moved[outcome] == (1, len(frame))
        assert run.retval == (XDP_DROP if outcome.startswith("drop") else XDP_PASS)
        return Verdict(outcome, run.data)


@pytest.fixture(scope="module")
def decap() -> Iterator[Decapsulation]:
    with BpfObject.open(DECAP_OBJECT) as loaded:
        loaded.set_constant("tunnel", pack_address(SELF))
        loaded.load()
        for source in WORLD.sources:
            loaded.map("sources").update(pack_address(source), bytes(4))
        services = tuple(
            Service(address, protocol, port, stamp, self_id=7)
            for (address, protocol, port), stamp in WORLD.stamps.items()
        )
        for key, value in pack_services(services).items():
            loaded.map("services").update(key, value)
        yield Decapsulation(loaded)


CASES: dict[str, tuple[str, bytes]] = {
    "keyless, in sync": ("delivered_in_sync", WRAP.frame(INNER)),
    "keyless, the sender is at another epoch": (
        "delivered_other_epoch",
        replace(WRAP, stamp=STAMP - 1).frame(INNER),
    ),
    "each VIP has its own stamp": ("delivered_in_sync", STAMPED_NEXT.frame(ipv4(VIP, UDP, ports(53)))),
    "keyed": ("delivered_keyed", replace(WRAP, key=0x0007_0009).frame(INNER)),
    "keyed with nobody": ("delivered_keyed", replace(WRAP, key=0).frame(INNER)),
    "marked": ("delivered_marked", replace(WRAP, flags=MARKED).frame(INNER)),
    "marked and keyed": ("delivered_marked", replace(WRAP, flags=MARKED, key=1).frame(INNER)),
    "bits 6 to 11 of GRE are ignored": ("delivered_in_sync", replace(WRAP, flags=0x03F0).frame(INNER)),
    "IPv6 inside": ("delivered_in_sync", WRAP6.frame(INNER6)),
    "IPv6 inside, keyed": ("delivered_keyed", replace(WRAP6, key=5).frame(INNER6)),
    "padding behind the packet": ("delivered_in_sync", WRAP.frame(INNER) + bytes(9)),
    "inner options before the ports": (
        "delivered_in_sync",
        WRAP.frame(ipv4(VIP, TCP, ports(80), options=bytes(40))),
    ),
    "inner ICMP": ("delivered_portless", WRAP.frame(ipv4(VIP, ICMP, bytes(8)))),
    "inner first fragment": ("delivered_portless", WRAP.frame(ipv4(VIP, TCP, ports(80), fragment=0x2000))),
    "inner later fragment": ("delivered_portless", WRAP.frame(ipv4(VIP, TCP, ports(80), fragment=0x0010))),
    "a port of the VIP's address without VIP": ("delivered_portless", WRAP.frame(ipv4(VIP, TCP, ports(81)))),
    "the VIP's port with another protocol": ("delivered_portless", WRAP.frame(ipv4(VIP, UDP, ports(80)))),
    "not a VIP": ("drop_not_vip", WRAP.frame(ipv4(SELF, TCP, ports(80)))),
    "IPv6 not a VIP": ("drop_not_vip", WRAP6.frame(ipv6(IPv6Address("2001:db8::81"), TCP, ports(80)))),
    "a stranger": ("drop_stranger", replace(WRAP, source=STRANGER).frame(INNER)),
    "a stranger's nonsense": ("drop_stranger", replace(WRAP, source=STRANGER, flags=0x8000).frame(b"")),
    "outer options": ("drop_outer", WRAP.frame(INNER, options=bytes(4))),
    "outer first fragment": ("drop_outer", WRAP.frame(INNER, fragment=0x2000)),
    "outer later fragment": ("drop_outer", WRAP.frame(INNER, fragment=0x0003)),
    "outer without DF": ("delivered_in_sync", WRAP.frame(INNER, fragment=0)),
    "outer version 6 in an IPv4 frame": ("drop_outer", WRAP.frame(INNER, version=6)),
    "outer length beyond the frame": ("drop_truncated", WRAP.frame(INNER, total=1500)),
    "outer length below its header": ("drop_truncated", WRAP.frame(INNER, total=19)),
    "outer length cuts GRE": ("drop_truncated", WRAP.frame(INNER, total=23)),
    "outer length cuts the key": ("drop_truncated", replace(WRAP, key=1).frame(INNER, total=27)),
    "outer length cuts the inner header": ("drop_truncated", WRAP.frame(INNER, total=43)),
    "GRE checksum": ("drop_gre", replace(WRAP, flags=0x8000).frame(INNER)),
    "GRE routing": ("drop_gre", replace(WRAP, flags=0x4000).frame(INNER)),
    "GRE sequence number": ("drop_gre", replace(WRAP, flags=0x1000).frame(INNER)),
    "GRE strict source route": ("drop_gre", replace(WRAP, flags=0x0800).frame(INNER)),
    "GRE bit 5": ("drop_gre", replace(WRAP, flags=0x0400).frame(INNER)),
    "GRE version 1 (PPTP)": ("drop_gre", replace(WRAP, flags=0x0001).frame(INNER)),
    "Ethernet inside GRE": ("drop_inner", replace(WRAP, protocol=0x6558).frame(INNER)),
    "inner version contradicts GRE": ("drop_inner", WRAP.frame(ipv4(VIP, TCP, ports(80), version=6))),
    "inner IPv6 version contradicts GRE": ("drop_inner", WRAP6.frame(ipv6(VIP6, TCP, ports(80), version=4))),
    "inner header of four words": ("drop_inner", WRAP.frame(ipv4(VIP, TCP, ports(80), header_words=4))),
    "inner length below its header": ("drop_inner", WRAP.frame(ipv4(VIP, TCP, ports(80), total=19))),
    "inner options beyond its length": ("drop_inner", WRAP.frame(ipv4(VIP, TCP, b"", header_words=15))),
    "inner length beyond the outer's": ("drop_truncated", WRAP.frame(ipv4(VIP, TCP, ports(80), total=1400))),
    "inner IPv6 length beyond the outer's": ("drop_truncated", WRAP6.frame(ipv6(VIP6, TCP, b"", length=900))),
    "inner without ports": ("drop_truncated", WRAP.frame(ipv4(VIP, TCP, b"\0\x50\0"))),
    "inner IPv6 without ports": ("drop_truncated", WRAP6.frame(ipv6(VIP6, TCP, b"\0\x50\0"))),
    "GRE to another address": ("untouched", replace(WRAP, destination=VIP).frame(INNER)),
    "TCP to the tunnel's address": ("untouched", ethernet(ipv4(SELF, TCP, ports(22)))),
    "TCP from a node": ("untouched", ethernet(ipv4(SELF, TCP, ports(22), source=NODE))),
    "ARP": ("untouched", ethernet(bytes(28), kind=0x0806)),
    "a VLAN tag": ("untouched", ethernet(bytes(64), kind=0x8100)),
    "IPv6 outside": ("untouched", ethernet(INNER6, kind=IPV6)),
    "Ethernet alone": ("untouched", ethernet(b"")),
    "IPv4 cut short": ("untouched", ethernet(ipv4(SELF, 47, b"")[:19])),
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "frame"), CASES.values(), ids=CASES.keys())
def test_kernel_and_model_agree_on(decap: Decapsulation, outcome: str, frame: bytes) -> None:
    verdict = judge(frame, WORLD)
    assert verdict.outcome == outcome
    assert decap.run(frame) == verdict


def test_the_cases_cover_every_outcome_that_a_packet_can_cause(decap: Decapsulation) -> None:
    named = {outcome for outcome, _ in CASES.values()}
    assert set(decap.counts()) - named == {"drop_failed"}


def test_what_is_delivered_is_the_inner_packet_unchanged(decap: Decapsulation) -> None:
    for wrap in (WRAP, replace(WRAP, key=0xFFFF_0001), replace(WRAP, flags=MARKED)):
        assert decap.run(wrap.frame(INNER)).frame == ethernet(INNER)
    assert decap.run(WRAP6.frame(INNER6)).frame == ethernet(INNER6, kind=IPV6)


def test_every_prefix_of_a_packet_is_judged_as_the_model_does(decap: Decapsulation) -> None:
    for whole in (WRAP.frame(INNER), replace(WRAP, key=9).frame(INNER), WRAP6.frame(INNER6)):
        for size in range(14, len(whole)):
            assert decap.run(whole[:size]) == judge(whole[:size], WORLD)


def test_a_packet_whose_lengths_follow_its_truncation_is_judged_as_the_model_does(
    decap: Decapsulation,
) -> None:
    for size in range(len(INNER)):
        frame = WRAP.frame(INNER[:size])
        assert decap.run(frame) == judge(frame, WORLD)


def test_kernel_and_model_agree_on_mutations(decap: Decapsulation) -> None:
    chance = random.Random(20261123)
    seeds = [frame for _, frame in CASES.values()]
    seen: set[str] = set()
    for _ in range(5000):
        frame = mutated(chance, chance.choice(seeds))
        verdict = judge(frame, WORLD)
        assert decap.run(frame) == verdict, frame.hex()
        seen.add(verdict.outcome)
    assert len(seen) >= 11


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """Change a few bytes among the headers, sometimes cut or lengthen the frame."""
    data = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(min(len(data), 70))
        data[at] = chance.choice(
            (0, 1, 0x45, 0x2F, 0xFF, data[at] ^ 1 << chance.randrange(8), chance.randrange(256))
        )
    if chance.random() < 0.3:
        del data[chance.randint(14, len(data)) :]
    if chance.random() < 0.2:
        data += chance.randbytes(chance.randint(1, 60))
    return bytes(data)


def test_random_bytes_never_abort(decap: Decapsulation) -> None:
    chance = random.Random(47)
    for _ in range(2000):
        frame = chance.randbytes(chance.randint(14, 200))
        assert decap.run(frame) == judge(frame, WORLD)
