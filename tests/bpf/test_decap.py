"""The backend's program, through the real verifier and kernel, against its model: byte by byte."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.backend_model import BackendModel, Result
from lbnode.dataplane.model import Verdict
from lbnode.model.ids import BackendId
from lbnode.quic import ConnectionIds
from tests.bpf import decap_world
from tests.bpf.decap_frames import (
    AH,
    CLIENT,
    CLIENT6,
    DESTINATION,
    ESP,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPV6,
    MARKED,
    ROUTING,
    SETTLED,
    TCP,
    UDP,
    Wrapping,
    chain,
    ethernet,
    ipv4,
    ipv6,
    ports,
    tagged,
)
from tests.bpf.decap_world import (
    AGENT,
    FAR_AGENT,
    LOST,
    ME,
    NO_AGENT,
    NODE,
    NODE6,
    PEER,
    PEER6,
    SELF,
    SELF6,
    SMALL_MTU,
    STAMP,
    STRANGER,
    STRANGER6,
    UNKNOWN,
    VIP,
    VIP6,
)

OTHER6 = IPv6Address("2001:db8::81")
ROUTER = IPv4Address("203.0.113.1")
SYN = 0x02
EVENTS = ("extra_hop", "skipped_self", "skipped_unknown", "put_off", "fragment_recorded", "fragment_followed")

WORLD = decap_world.model()
WRAP = Wrapping(NODE, SELF, stamp=STAMP)
OLD = replace(WRAP, stamp=STAMP - 2)
LOCAL = STAMP | 0x8000
WRAP6 = replace(WRAP, protocol=IPV6)
BY_IPV6 = Wrapping(NODE6, SELF6, stamp=STAMP)
BY_IPV6_OF_6 = replace(BY_IPV6, protocol=IPV6)
INNER = ipv4(VIP, TCP, ports(80))
INNER6 = ipv6(VIP6, TCP, ports(80))
INNER_84 = ipv4(VIP, TCP, ports(84))
INNER6_84 = ipv6(VIP6, TCP, ports(84))


class Decapsulation:
    """The loaded program on maps that hold what a model does."""

    def __init__(self, plane: BackendDataPlane) -> None:
        self._plane = plane

    def names(self) -> list[str]:
        return list(self._plane.counters())

    def run(self, frame: bytes) -> Result:
        """Return what the kernel did; exactly one outcome must have been counted, by one packet of that size."""
        before = self._plane.counters()
        run = self._plane.program.test_run(frame)
        after = self._plane.counters()
        moved = {name: after[name].packets - before[name].packets for name in after}
        (outcome,) = (name for name, packets in moved.items() if packets and name not in EVENTS)
        assert after[outcome].bytes - before[outcome].bytes == len(frame)
        assert moved[outcome] == 1
        seen = tuple(name for name in EVENTS for _ in range(moved[name]))
        return Result(outcome, Verdict(run.retval), run.data, seen)


def expected(frame: bytes, model: BackendModel = WORLD) -> Result:
    """What the model says, as far as the kernel can be asked."""
    result = model.process(frame)
    return replace(result, seen=tuple(sorted(result.seen, key=EVENTS.index)), backend=None, ifindex=0)


@pytest.fixture(scope="module")
def decap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decapsulation]:
    with decap_world.backend_of(WORLD, tmp_path_factory.mktemp("decap") / "bpf") as plane:
        yield Decapsulation(plane)


def key(first: int, second: int = 0) -> int:
    return first << 16 | second


def asking(first: int, second: int = 0, wrap: Wrapping = WRAP, inner: bytes = INNER) -> bytes:
    """A packet that names whom to ask next."""
    return replace(wrap, key=key(first, second)).frame(inner)


def bucket_source(*listed: int) -> int:
    """A client's port for whose flow my own epoch lists an owner, and then these alternates if any are given."""
    for port in range(1024, 60000):
        packet = WORLD._parse(OLD.frame(ipv4(VIP, TCP, ports(80, port))))
        if WORLD._listed(WORLD.tables[decap_world.WEB], packet.inner)[: len(listed)] == [*listed]:
            return port
    raise AssertionError(f"no flow is listed for {listed}")


def too_big(port: int = 80, protocol: int = TCP, client_port: int = 40000, shown: int = 8) -> bytes:
    """An ICMP error about a flow: the start of what the VIP sent to a client."""
    quote = ipv4(CLIENT, protocol, ports(client_port, port)[:shown], VIP, total=1500)
    return ipv4(VIP, ICMP, struct.pack("!BBHI", 3, 4, 0, 1400) + quote, ROUTER)


def too_big6(port: int = 80) -> bytes:
    """The same of IPv6."""
    sent = ipv6(CLIENT6, TCP, ports(40000, port), length=1460)
    quote = sent[:8] + VIP6.packed + CLIENT6.packed + sent[40:]
    return ipv6(VIP6, ICMPV6, struct.pack("!BBHI", 2, 0, 0, 1400) + quote)


def naming(backend: BackendId, port: int = 443, size: int = 30) -> bytes:
    """A QUIC packet whose connection id names a backend, and `size` bytes more."""
    connection_id = ConnectionIds(backend, decap_world.ROUTING.config_id).mint()
    return ipv4(VIP, UDP, struct.pack("!HHHH", 40000, port, 0, 0) + b"\x40" + connection_id + bytes(size))


CASES: dict[str, tuple[str, bytes]] = {
    "keyless, in sync": ("delivered_in_sync", WRAP.frame(INNER)),
    "keyless, in sync, from another backend": ("delivered_in_sync", replace(WRAP, source=PEER).frame(INNER)),
    "keyless, the sender is at another epoch": (
        "forwarded_restarted",
        OLD.frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "at another epoch, and nobody else owns the flow": (
        "delivered_last",
        replace(OLD, flags=MARKED).frame(ipv4(VIP, TCP, ports(80, bucket_source(ME)))),
    ),
    "marked, nobody left": ("delivered_last", replace(OLD, flags=MARKED).frame(INNER)),
    "marked and in sync, nobody left": ("delivered_last", replace(WRAP, flags=MARKED).frame(INNER)),
    "two to ask": ("forwarded_keyed", asking(AGENT, FAR_AGENT)),
    "two to ask, the first by another interface": ("forwarded_keyed", asking(FAR_AGENT, AGENT)),
    "one to ask": ("forwarded_keyless", asking(AGENT)),
    "one to ask, in the second place": ("forwarded_keyless", asking(0, AGENT)),
    "the mark stays": ("forwarded_keyed", asking(AGENT, FAR_AGENT, replace(WRAP, flags=MARKED))),
    "I am next": ("forwarded_keyless", asking(ME, AGENT)),
    "I am the one after the next": ("forwarded_keyless", asking(AGENT, ME)),
    "only I am to be asked": ("delivered_last", asking(ME)),
    "only I am to be asked, marked": ("delivered_last", asking(ME, ME, replace(OLD, flags=MARKED))),
    "the same twice": ("forwarded_keyed", asking(AGENT, AGENT)),
    "nobody knows the next": ("forwarded_keyless", asking(UNKNOWN, AGENT)),
    "there is no way to the next: the one after it may know one": ("forwarded_keyed", asking(LOST, AGENT)),
    "there is no way to the last": ("drop_no_next_hop", asking(LOST)),
    "there is no way to the last, marked": (
        "drop_no_next_hop", asking(LOST, 0, replace(OLD, flags=MARKED)),
    ),
    "there is no way to one of two, the other cannot pass on": ("drop_no_next_hop", asking(LOST, NO_AGENT)),
    "there is no way to the last, and the sender knows more than I": (
        "drop_no_next_hop",
        asking(LOST, 0, replace(WRAP, stamp=STAMP + 1), ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "there is no way to the last, and I know more than the sender": (
        "forwarded_keyed",
        asking(LOST, 0, OLD, ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "there is no way to the last, and the list was added to": (
        "forwarded_restarted",
        asking(LOST, 0, replace(OLD, flags=SETTLED), ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "my owner comes last on an older list": (
        "forwarded_keyed",
        asking(FAR_AGENT, 0, OLD, ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "my owner comes last on an older list of two": (
        "forwarded_keyed",
        asking(FAR_AGENT, NO_AGENT, OLD, ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "my owner is on an older list already": (
        "forwarded_keyless",
        asking(AGENT, 0, OLD, ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "my owner is the last of an older list already": (
        "forwarded_keyed",
        asking(FAR_AGENT, AGENT, OLD, ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "I own what an older list is for": (
        "forwarded_keyless",
        asking(FAR_AGENT, 0, OLD, ipv4(VIP, TCP, ports(80, bucket_source(ME)))),
    ),
    "somebody has added to an older list": (
        "forwarded_keyless",
        asking(FAR_AGENT, 0, replace(OLD, flags=SETTLED), ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "an older list, marked": (
        "forwarded_keyless",
        asking(FAR_AGENT, 0, replace(OLD, flags=MARKED), ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "what was added to an older list goes without the last place of mine": (
        "forwarded_restarted",
        replace(OLD, flags=SETTLED).frame(ipv4(VIP, TCP, ports(80, bucket_source(ME, AGENT, FAR_AGENT)))),
    ),
    "my own epoch lists only me and one to whom there is no way": (
        "drop_no_next_hop",
        OLD.frame(ipv4(VIP, TCP, ports(80, bucket_source(LOST, ME, 0)))),
    ),
    "a new flow, and there is no way to its owner": (
        "delivered_syn",
        OLD.frame(ipv4(VIP, TCP, ports(80, bucket_source(LOST), flags=SYN))),
    ),
    "the last may be unknown here": ("forwarded_keyed", asking(AGENT, UNKNOWN)),
    "a backend without agent comes last": ("forwarded_keyed", asking(NO_AGENT, AGENT)),
    "a backend without agent alone": ("forwarded_keyless", asking(NO_AGENT)),
    "a backend without agent before one that nobody knows": ("forwarded_keyless", asking(NO_AGENT, UNKNOWN)),
    "too long for the next hop": ("drop_too_big", asking(SMALL_MTU, AGENT)),
    "keyed with nobody, in sync": ("delivered_last", asking(0)),
    "a new flow, in sync": ("delivered_in_sync", WRAP.frame(ipv4(VIP, TCP, ports(80, flags=SYN)))),
    "a new flow by an epoch that I do not know yet": (
        "delivered_syn",
        replace(WRAP, stamp=WRAP.stamp + 1).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow by the local view of my epoch": (
        "delivered_syn",
        replace(WRAP, stamp=LOCAL).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow by the local view of an earlier epoch": (
        "forwarded_syn",
        replace(WRAP, stamp=LOCAL - 2).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "nobody on the list of a local view of my epoch": (
        "forwarded_restarted",
        replace(WRAP, stamp=LOCAL).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT)))),
    ),
    "a new flow passed on by an earlier epoch": (
        "forwarded_syn",
        replace(OLD, flags=MARKED).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow passed on by my epoch": (
        "delivered_syn",
        replace(WRAP, flags=MARKED).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow by the last epoch, which may still be current": (
        "delivered_syn",
        replace(WRAP, stamp=STAMP - 1).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow by the epoch farthest ahead": (
        "delivered_syn",
        replace(WRAP, stamp=STAMP + 0x3FFF & 0x7FFF).frame(
            ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))
        ),
    ),
    "a new flow by the epoch farthest behind": (
        "forwarded_syn",
        replace(WRAP, stamp=STAMP + 0x4000 & 0x7FFF).frame(
            ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))
        ),
    ),
    "a new flow by an earlier epoch, mine by my own": (
        "delivered_syn",
        OLD.frame(ipv4(VIP, TCP, ports(80, bucket_source(ME), flags=SYN))),
    ),
    "a new flow by an earlier epoch, somebody else's by my own": (
        "forwarded_syn",
        OLD.frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow passed on twice by earlier epochs": (
        "delivered_syn",
        replace(OLD, flags=MARKED | SETTLED).frame(ipv4(VIP, TCP, ports(80, bucket_source(AGENT), flags=SYN))),
    ),
    "a new flow, keyed all the same": ("delivered_syn", asking(AGENT, 0, WRAP, ipv4(VIP, TCP, ports(80, flags=SYN)))),
    "a new flow that I do not take": ("forwarded_syn", OLD.frame(ipv4(VIP, TCP, ports(82, 40002, flags=SYN)))),
    "a new flow that I do not take, marked": (
        "delivered_syn",
        replace(WRAP, flags=MARKED).frame(ipv4(VIP, TCP, ports(82, 40002, flags=SYN))),
    ),
    "a VIP that nobody here listens for": (
        "delivered_no_chance",
        asking(AGENT, 0, WRAP, ipv4(VIP, TCP, ports(81))),
    ),
    "UDP": ("delivered_udp", OLD.frame(ipv4(VIP, UDP, ports(53)))),
    "QUIC that names another backend": ("forwarded_named", OLD.frame(naming(AGENT))),
    "QUIC that names a backend without agent": ("forwarded_named", asking(AGENT, 0, OLD, naming(NO_AGENT))),
    "QUIC that names this backend": ("delivered_udp", OLD.frame(naming(ME))),
    "QUIC that names another backend, in sync": ("delivered_udp", WRAP.frame(naming(AGENT))),
    "QUIC that names another backend, marked": (
        "delivered_udp", replace(OLD, flags=MARKED).frame(naming(AGENT)),
    ),
    "QUIC that names a backend that cannot be reached": ("delivered_udp", OLD.frame(naming(LOST))),
    "QUIC that names no member": ("delivered_udp", OLD.frame(naming(SMALL_MTU))),
    "QUIC that names another backend, to a VIP without": ("delivered_udp", OLD.frame(naming(AGENT, 53))),
    "QUIC that names another backend, too long for the way": (
        "drop_too_big", OLD.frame(naming(AGENT, size=1600)),
    ),
    "UDP, keyed": ("delivered_udp", asking(AGENT, 0, WRAP, ipv4(VIP, UDP, ports(53)))),
    "bits 6 to 11 of GRE are ignored": ("delivered_in_sync", replace(WRAP, flags=0x03F0).frame(INNER)),
    "padding behind the packet": ("delivered_in_sync", WRAP.frame(INNER) + bytes(9)),
    "inner options before the ports": (
        "delivered_in_sync",
        WRAP.frame(ipv4(VIP, TCP, ports(80), options=bytes(40))),
    ),
    "inner ICMP": ("delivered_portless", WRAP.frame(ipv4(VIP, ICMP, bytes(8)))),
    "an error, in sync": ("delivered_in_sync", WRAP.frame(too_big())),
    "an error, two to ask": ("forwarded_keyed", asking(AGENT, FAR_AGENT, WRAP, too_big())),
    "an error that shows only ports, one to ask": ("forwarded_keyless", asking(AGENT, 0, WRAP, too_big(shown=4))),
    "an error that shows no ports": ("delivered_portless", asking(AGENT, 0, WRAP, too_big(shown=3))),
    "an error, the sender is at another epoch": (
        "forwarded_restarted",
        OLD.frame(too_big(client_port=bucket_source(AGENT))),
    ),
    "an error, and nobody is left": ("delivered_last", asking(ME, 0, WRAP, too_big())),
    "an error, longer than the next hop takes": ("drop_too_big", asking(SMALL_MTU, 0, WRAP, too_big(shown=34))),
    "an error about UDP": ("delivered_udp", asking(AGENT, 0, WRAP, too_big(53, UDP))),
    "an error about a port without VIP": ("delivered_portless", asking(AGENT, 0, WRAP, too_big(83))),
    "an error about a VIP that nobody here listens for": (
        "delivered_no_chance",
        asking(AGENT, 0, WRAP, too_big(81)),
    ),
    "an echo reply that looks like a flow": (
        "delivered_portless",
        asking(AGENT, 0, WRAP, ipv4(VIP, ICMP, bytes(8) + too_big()[28:])),
    ),
    "IPv6, an error, one to ask": ("forwarded_keyless", asking(AGENT, 0, WRAP6, too_big6())),
    "inner first fragment": ("delivered_in_sync", WRAP.frame(ipv4(VIP, TCP, ports(80), fragment=0x2000))),
    "inner first fragment of an old sender": (
        "forwarded_keyless", asking(AGENT, 0, OLD, ipv4(VIP, TCP, ports(80), fragment=0x2000, identifier=9)),
    ),
    "inner later fragment, of the same packet": (
        "forwarded_keyless", asking(AGENT, 0, OLD, ipv4(VIP, TCP, bytes(8), fragment=0x0003, identifier=9)),
    ),
    "inner later fragment, of another packet": (
        "delivered_portless", asking(AGENT, 0, OLD, ipv4(VIP, TCP, bytes(8), fragment=0x0003, identifier=10)),
    ),
    "inner first fragment without a whole header": (
        "delivered_portless", WRAP.frame(ipv4(VIP, TCP, ports(80)[:8], fragment=0x2000, identifier=11)),
    ),
    "inner fragment of UDP": ("delivered_portless", WRAP.frame(ipv4(VIP, UDP, ports(53), fragment=0x2000))),
    "a port of the VIP's address without VIP": ("delivered_portless", WRAP.frame(ipv4(VIP, TCP, ports(83)))),
    "the VIP's port with another protocol": ("delivered_portless", WRAP.frame(ipv4(VIP, UDP, ports(80)))),
    "not a VIP": ("drop_not_vip", WRAP.frame(ipv4(SELF, TCP, ports(80)))),
    "IPv6 not a VIP": ("drop_not_vip", WRAP6.frame(ipv6(OTHER6, TCP, ports(80)))),
    "IPv6, keyless, in sync": ("delivered_in_sync", WRAP6.frame(INNER6)),
    "IPv6, two to ask": ("forwarded_keyed", asking(AGENT, FAR_AGENT, WRAP6, INNER6)),
    "IPv6, one to ask": ("forwarded_keyless", asking(AGENT, 0, WRAP6, INNER6)),
    "IPv6, UDP": ("delivered_udp", WRAP6.frame(ipv6(VIP6, UDP, ports(53)))),
    "IPv6, ICMP": ("delivered_portless", WRAP6.frame(ipv6(VIP6, ICMPV6, bytes(8)))),
    "IPv6, too long for the next hop": ("drop_too_big", asking(SMALL_MTU, AGENT, WRAP6, INNER6)),
    "IPv6, a header of each kind before the ports": (
        "delivered_in_sync",
        WRAP6.frame(ipv6(VIP6, HOP_BY_HOP, chain(DESTINATION, ROUTING, FRAGMENT, AH, DESTINATION, TCP) + ports(80))),
    ),
    "IPv6, too many headers": (
        "drop_extensions",
        WRAP6.frame(ipv6(VIP6, DESTINATION, chain(*[DESTINATION] * 6, TCP) + ports(80))),
    ),
    "IPv6, cut within its headers": ("drop_truncated", WRAP6.frame(ipv6(VIP6, ROUTING, chain(AH, TCP)[:12]))),
    "IPv6, first fragment": (
        "forwarded_keyless", asking(AGENT, 0, WRAP6, ipv6(VIP6, FRAGMENT, chain(TCP, offset=1) + ports(80))),
    ),
    "IPv6, later fragment": (
        "forwarded_keyless", asking(AGENT, 0, WRAP6, ipv6(VIP6, FRAGMENT, chain(TCP, offset=8) + bytes(3))),
    ),
    "IPv6, encrypted": ("delivered_portless", WRAP6.frame(ipv6(VIP6, ESP, bytes(40)))),
    "a tag": ("delivered_in_sync", tagged(WRAP.frame(INNER), 0x8100)),
    "two tags": ("delivered_in_sync", tagged(WRAP6.frame(INNER6), 0x88A8, 0x8100)),
    "a tag, and one to ask": ("forwarded_keyless", tagged(asking(AGENT), 0x8100)),
    "three tags": ("untouched", tagged(WRAP.frame(INNER), 0x88A8, 0x8100, 0x8100)),
    "a stranger": ("drop_stranger", replace(WRAP, source=STRANGER).frame(INNER)),
    "a stranger's nonsense": ("drop_stranger", replace(WRAP, source=STRANGER, flags=0x8000).frame(b"")),
    "outer options": ("drop_outer", WRAP.frame(INNER, options=bytes(4))),
    "outer first fragment": ("drop_outer", WRAP.frame(INNER, fragment=0x2000)),
    "outer later fragment": ("drop_outer", WRAP.frame(INNER, fragment=0x0003)),
    "outer without DF": ("delivered_in_sync", WRAP.frame(INNER, fragment=0)),
    "outer version 6 in an IPv4 frame": ("untouched", WRAP.frame(INNER, version=6)),
    "outer length beyond the frame": ("drop_truncated", WRAP.frame(INNER, total=1500)),
    "outer length below its header": ("untouched", WRAP.frame(INNER, total=19)),
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
    "outer IPv6, IPv4 within, in sync": ("delivered_in_sync", BY_IPV6.frame(INNER_84)),
    "outer IPv6, IPv6 within, in sync": ("delivered_in_sync", BY_IPV6_OF_6.frame(INNER6_84)),
    "outer IPv6, from another backend": ("delivered_in_sync", replace(BY_IPV6, source=PEER6).frame(INNER_84)),
    "outer IPv6, more of the flow label": ("delivered_in_sync", BY_IPV6.frame(INNER_84, label=0xF0000 | STAMP)),
    "outer IPv6, two to ask": ("forwarded_keyed", asking(AGENT, FAR_AGENT, BY_IPV6, INNER_84)),
    "outer IPv6, one to ask, IPv6 within": ("forwarded_keyless", asking(AGENT, 0, BY_IPV6_OF_6, INNER6_84)),
    "outer IPv6, and the pool goes by IPv4": ("forwarded_keyless", asking(AGENT, 0, BY_IPV6, INNER)),
    "outer IPv4, and the pool goes by IPv6": ("forwarded_keyless", asking(AGENT, 0, WRAP, INNER_84)),
    "no tunnel to the next by the pool's family": ("drop_no_next_hop", asking(NO_AGENT, 0, WRAP, INNER_84)),
    "too long for an IPv6 tunnel": ("drop_too_big", asking(FAR_AGENT, 0, BY_IPV6_OF_6, ipv6(VIP6, TCP, ports(84)))),
    "outer IPv6, a stranger": ("drop_stranger", replace(BY_IPV6, source=STRANGER6).frame(INNER)),
    "outer IPv6 whose last bytes are a member's": (
        "drop_stranger", replace(BY_IPV6, source=IPv6Address(int(NODE))).frame(INNER),
    ),
    "outer IPv6 with an extension header": (
        "drop_outer", ethernet(ipv6(SELF6, DESTINATION, chain(47) + INNER, source=NODE6), IPV6),
    ),
    "outer fragment of IPv6": (
        "drop_outer", ethernet(ipv6(SELF6, FRAGMENT, chain(47, offset=1) + INNER, source=NODE6), IPV6),
    ),
    "outer IPv6 length beyond the frame": ("drop_truncated", BY_IPV6.frame(INNER, length=1500)),
    "outer IPv6 length cuts GRE": ("drop_truncated", BY_IPV6.frame(INNER, length=3)),
    "GRE to another IPv6 address": ("untouched", replace(BY_IPV6, destination=VIP6).frame(INNER)),
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
    verdict = expected(frame)
    assert verdict.outcome == outcome
    assert decap.run(frame) == verdict


def test_the_cases_cover_every_outcome_that_a_packet_can_cause(decap: Decapsulation) -> None:
    named = {outcome for outcome, _ in CASES.values()}
    needs_a_socket = {f"delivered_{how}" for how in ("held", "handshake", "cookie", "time_wait")}
    assert set(decap.names()) - named == {"drop_failed", "drop_inconsistent", *EVENTS, *needs_a_socket}


def test_what_is_delivered_is_the_inner_packet_unchanged(decap: Decapsulation) -> None:
    for frame in (WRAP.frame(INNER), asking(ME), replace(WRAP, flags=MARKED).frame(INNER)):
        assert decap.run(frame).frame == ethernet(INNER)


def test_with_the_second_chance_off_everything_is_delivered(decap: Decapsulation, tmp_path: Path) -> None:
    model = decap_world.without_second_chance()
    with decap_world.backend_of(model, tmp_path / "bpf") as plane:
        plain = Decapsulation(plane)
        for _, frame in CASES.values():
            result = plain.run(frame)
            assert result == expected(frame, model)
            assert not result.outcome.startswith("forwarded")


def test_every_prefix_of_a_packet_is_judged_as_the_model_does(decap: Decapsulation) -> None:
    for whole in (WRAP.frame(INNER), asking(AGENT, FAR_AGENT), WRAP6.frame(INNER6)):
        for size in range(14, len(whole)):
            assert decap.run(whole[:size]) == expected(whole[:size])


def test_a_packet_whose_lengths_follow_its_truncation_is_judged_as_the_model_does(
    decap: Decapsulation,
) -> None:
    for size in range(len(INNER)):
        frame = WRAP.frame(INNER[:size])
        assert decap.run(frame) == expected(frame)


def test_kernel_and_model_agree_on_mutations(decap: Decapsulation) -> None:
    chance = random.Random(20261123)
    seeds = [frame for _, frame in CASES.values()]
    seen: set[str] = set()
    for _ in range(5000):
        frame = mutated(chance, chance.choice(seeds))
        verdict = expected(frame)
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
        assert decap.run(frame) == expected(frame)
