"""Cases of the second chance: whom a packet names to ask, by which epoch it goes, and what has been done with it."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address

from lbnode.model.ids import BackendId, PoolName
from lbnode.quic import ConnectionIds
from tests.bpf.decap_frames import (
    CLIENT,
    CLIENT6,
    ICMP,
    ICMPV6,
    MARKED,
    SETTLED,
    TCP,
    UDP,
    ipv4,
    ipv6,
    ports,
)
from tests.bpf.decap_world import (
    AGENT,
    FAR_AGENT,
    INNER,
    LOST,
    ME,
    NO_AGENT,
    OLD,
    ROUTING,
    SIX,
    SMALL_MTU,
    STAMP,
    UNKNOWN,
    VIP,
    VIP6,
    WEB,
    WORLD,
    WRAP,
    WRAP6,
    asking,
)

ROUTER = IPv4Address("203.0.113.1")
SYN = 0x02
LOCAL = STAMP | 0x8000
PORTS = {WEB: 80, SIX: 84}


def bucket_source(*listed: int, pool: PoolName = WEB) -> int:
    """A client's port for whose flow my own epoch lists an owner, and then these alternates if any are given."""
    for port in range(1024, 60000):
        packet = WORLD._parse(OLD.frame(ipv4(VIP, TCP, ports(PORTS[pool], port))))
        if WORLD._listed(WORLD.tables[pool], packet.inner)[: len(listed)] == [*listed]:
            return port
    raise AssertionError(f"no flow is listed for {listed}")


def listing(*listed: int, flags: int = 0x10, pool: PoolName = WEB) -> bytes:
    """A packet of a flow for which my own epoch lists these."""
    return ipv4(VIP, TCP, ports(PORTS[pool], bucket_source(*listed, pool=pool), flags=flags))


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
    connection_id = ConnectionIds(backend, ROUTING.config_id).mint()
    return ipv4(VIP, UDP, struct.pack("!HHHH", 40000, port, 0, 0) + b"\x40" + connection_id + bytes(size))


CASES: dict[str, tuple[str, bytes]] = {
    "keyless, the sender is at another epoch": ("forwarded_restarted", OLD.frame(listing(AGENT))),
    "at another epoch, and nobody else owns the flow": (
        "delivered_last", replace(OLD, flags=MARKED).frame(listing(ME)),
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
    "there is no way to the last, marked": ("drop_no_next_hop", asking(LOST, 0, replace(OLD, flags=MARKED))),
    "there is no way to one of two, the other cannot pass on": ("drop_no_next_hop", asking(LOST, NO_AGENT)),
    "there is no way to the last, and the sender knows more than I": (
        "drop_no_next_hop", asking(LOST, 0, replace(WRAP, stamp=STAMP + 1), listing(AGENT)),
    ),
    "there is no way to the last, and I know more than the sender": (
        "forwarded_keyed", asking(LOST, 0, OLD, listing(AGENT)),
    ),
    "there is no way to the last, and the list was added to": (
        "forwarded_restarted", asking(LOST, 0, replace(OLD, flags=SETTLED), listing(AGENT)),
    ),
    "my owner comes last on an older list": ("forwarded_keyed", asking(FAR_AGENT, 0, OLD, listing(AGENT))),
    "my owner comes last on an older list of two": (
        "forwarded_keyed", asking(FAR_AGENT, NO_AGENT, OLD, listing(AGENT)),
    ),
    "my owner is on an older list already": ("forwarded_keyless", asking(AGENT, 0, OLD, listing(AGENT))),
    "my owner is the last of an older list already": ("forwarded_keyed", asking(FAR_AGENT, AGENT, OLD, listing(AGENT))),
    "I own what an older list is for": ("forwarded_keyless", asking(FAR_AGENT, 0, OLD, listing(ME))),
    "somebody has added to an older list": (
        "forwarded_keyless", asking(FAR_AGENT, 0, replace(OLD, flags=SETTLED), listing(AGENT)),
    ),
    "an older list that has begun anew": (
        "forwarded_keyed", asking(FAR_AGENT, 0, replace(OLD, flags=MARKED), listing(AGENT)),
    ),
    "an older list that has begun anew, at its end": (
        "forwarded_keyless", replace(OLD, flags=MARKED).frame(listing(AGENT)),
    ),
    "an older list that has begun anew and was added to, at its end": (
        "delivered_last", replace(OLD, flags=MARKED | SETTLED).frame(listing(AGENT)),
    ),
    "after a list that was added to both my alternates are asked": (
        "forwarded_restarted",
        replace(OLD, flags=SETTLED).frame(listing(ME, AGENT, FAR_AGENT)),
    ),
    "after a list that was added to my second alternate is not asked if I am not listed": (
        "forwarded_restarted",
        replace(OLD, flags=SETTLED).frame(listing(AGENT, FAR_AGENT, NO_AGENT)),
    ),
    "my own epoch lists only me and one to whom there is no way": ("drop_no_next_hop", OLD.frame(listing(LOST, ME, 0))),
    "a new flow, and there is no way to its owner": ("delivered_syn", OLD.frame(listing(LOST, flags=SYN))),
    "the last may be unknown here": ("forwarded_keyed", asking(AGENT, UNKNOWN)),
    "a backend without agent comes last": ("forwarded_keyed", asking(NO_AGENT, AGENT)),
    "a backend without agent alone": ("forwarded_keyless", asking(NO_AGENT)),
    "a backend without agent before one that nobody knows": ("forwarded_keyless", asking(NO_AGENT, UNKNOWN)),
    "too long for the next hop": ("drop_too_big", asking(SMALL_MTU, AGENT)),
    "keyed with nobody, in sync": ("delivered_last", asking(0)),
    "a new flow, in sync": ("delivered_in_sync", WRAP.frame(ipv4(VIP, TCP, ports(80, flags=SYN)))),
    "a new flow by an epoch that I do not know yet": (
        "delivered_syn", replace(WRAP, stamp=WRAP.stamp + 1).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow by the local view of my epoch": (
        "delivered_syn", replace(WRAP, stamp=LOCAL).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow by the local view of an earlier epoch": (
        "forwarded_syn", replace(WRAP, stamp=LOCAL - 2).frame(listing(AGENT, flags=SYN)),
    ),
    "nobody on the list of a local view of my epoch": (
        "forwarded_restarted", replace(WRAP, stamp=LOCAL).frame(listing(AGENT)),
    ),
    "a new flow passed on by an earlier epoch": (
        "forwarded_syn", replace(OLD, flags=MARKED).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow passed on by my epoch": ("delivered_syn", replace(WRAP, flags=MARKED).frame(listing(AGENT, flags=SYN))),
    "a new flow by the last epoch, which may still be current": (
        "delivered_syn", replace(WRAP, stamp=STAMP - 1).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow by the epoch farthest ahead": (
        "delivered_syn", replace(WRAP, stamp=STAMP + 0x3FFF & 0x7FFF).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow by the epoch farthest behind": (
        "forwarded_syn", replace(WRAP, stamp=STAMP + 0x4000 & 0x7FFF).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow by an earlier epoch, mine by my own": ("delivered_syn", OLD.frame(listing(ME, flags=SYN))),
    "a new flow by an earlier epoch, somebody else's by my own": (
        "forwarded_syn", OLD.frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow passed on twice by earlier epochs": (
        "delivered_syn", replace(OLD, flags=MARKED | SETTLED).frame(listing(AGENT, flags=SYN)),
    ),
    "a new flow, keyed all the same": ("delivered_syn", asking(AGENT, 0, WRAP, ipv4(VIP, TCP, ports(80, flags=SYN)))),
    "a new flow that I do not take": ("forwarded_syn", OLD.frame(ipv4(VIP, TCP, ports(82, 40002, flags=SYN)))),
    "a new flow that I do not take, marked": (
        "forwarded_syn", replace(WRAP, flags=MARKED).frame(ipv4(VIP, TCP, ports(82, 40002, flags=SYN))),
    ),
    "a new flow by the local view of my epoch, I have failed": (
        "delivered_syn", replace(WRAP, stamp=LOCAL).frame(listing(AGENT, flags=SYN, pool=SIX)),
    ),
    "a new flow by an epoch that I do not know yet, I have failed": (
        "delivered_syn", replace(WRAP, stamp=STAMP + 1).frame(listing(AGENT, flags=SYN, pool=SIX)),
    ),
    "a new flow by the last epoch, I have failed": (
        "forwarded_syn", replace(WRAP, stamp=STAMP - 1).frame(listing(AGENT, flags=SYN, pool=SIX)),
    ),
    "a new flow passed on by the last epoch, I have failed": (
        "forwarded_syn", replace(WRAP, stamp=STAMP - 1, flags=MARKED).frame(listing(AGENT, flags=SYN, pool=SIX)),
    ),
    "a VIP that nobody here listens for": ("delivered_no_chance", asking(AGENT, 0, WRAP, ipv4(VIP, TCP, ports(81)))),
    "QUIC that names another backend": ("forwarded_named", OLD.frame(naming(AGENT))),
    "QUIC that names a backend without agent": ("forwarded_named", asking(AGENT, 0, OLD, naming(NO_AGENT))),
    "QUIC that names this backend": ("delivered_udp", OLD.frame(naming(ME))),
    "QUIC that names another backend, in sync": ("delivered_udp", WRAP.frame(naming(AGENT))),
    "QUIC that names another backend, marked": ("delivered_udp", replace(OLD, flags=MARKED).frame(naming(AGENT))),
    "QUIC that names a backend that cannot be reached": ("delivered_udp", OLD.frame(naming(LOST))),
    "QUIC that names no member": ("delivered_udp", OLD.frame(naming(SMALL_MTU))),
    "QUIC that names another backend, to a VIP without": ("delivered_udp", OLD.frame(naming(AGENT, 53))),
    "QUIC that names another backend, too long for the way": ("drop_too_big", OLD.frame(naming(AGENT, size=1600))),
    "an error, in sync": ("delivered_in_sync", WRAP.frame(too_big())),
    "an error, two to ask": ("forwarded_keyed", asking(AGENT, FAR_AGENT, WRAP, too_big())),
    "an error that shows only ports, one to ask": ("forwarded_keyless", asking(AGENT, 0, WRAP, too_big(shown=4))),
    "an error that shows no ports": ("delivered_portless", asking(AGENT, 0, WRAP, too_big(shown=3))),
    "an error, the sender is at another epoch": (
        "forwarded_restarted", OLD.frame(too_big(client_port=bucket_source(AGENT))),
    ),
    "an error, and nobody is left": ("delivered_last", asking(ME, 0, WRAP, too_big())),
    "an error, longer than the next hop takes": ("drop_too_big", asking(SMALL_MTU, 0, WRAP, too_big(shown=34))),
    "an error about UDP": ("delivered_udp", asking(AGENT, 0, WRAP, too_big(53, UDP))),
    "an error about a port without VIP": ("delivered_portless", asking(AGENT, 0, WRAP, too_big(83))),
    "an error about a VIP that nobody here listens for": ("delivered_no_chance", asking(AGENT, 0, WRAP, too_big(81))),
    "an echo reply that looks like a flow": (
        "delivered_portless", asking(AGENT, 0, WRAP, ipv4(VIP, ICMP, bytes(8) + too_big()[28:])),
    ),
    "IPv6, an error, one to ask": ("forwarded_keyless", asking(AGENT, 0, WRAP6, too_big6())),
}  # fmt: skip
