"""Kernel messages become events."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network

import pytest

from lbnode.netdev.events import Change, Event, parse_events
from lbnode.netdev.neighbours import Neighbour

NEW_LINK, NEW_ADDRESS, NEW_ROUTE, NEW_NEIGHBOUR, OLD_NEIGHBOUR = 16, 20, 24, 28, 29
NEW_RULE, NEW_QUEUE, NEW_NEXT_HOP = 32, 36, 104
INET, BRIDGE, INET6 = 2, 7, 10
DESTINATION, LINK_ADDRESS = 1, 2
REACHABLE = 2
MAC = bytes.fromhex("020000000077")


def message(kind: int, body: bytes) -> bytes:
    """One netlink message, padded as the kernel does."""
    whole = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return whole + bytes(-len(whole) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded as the kernel does."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def neighbour(family: int, address: bytes, kind: int = NEW_NEIGHBOUR) -> bytes:
    body = struct.pack("=BxxxiHBB", family, 6, REACHABLE, 0, 0)
    return message(kind, body + attribute(DESTINATION, address) + attribute(LINK_ADDRESS, MAC))


def route(family: int, length: int, destination: bytes = b"") -> bytes:
    body = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 0, 0, 1, 0)
    return message(NEW_ROUTE, body + (attribute(DESTINATION, destination) if destination else b""))


def test_each_kind_of_message_names_what_changed_and_where() -> None:
    data = b"".join(
        (
            message(NEW_LINK, struct.pack("=BxHiII", 0, 1, 4, 1, 0)),
            message(NEW_ADDRESS, struct.pack("=BBBBI", 2, 24, 0, 0, 5)),
            message(NEW_RULE, bytes(12)),
            message(NEW_NEXT_HOP, bytes(8)),
        )
    )
    assert list(parse_events(data)) == [
        Event(Change.LINK, 4),
        Event(Change.ADDRESS, 5),
        Event(Change.ROUTE),
        Event(Change.ROUTE),
    ]


@pytest.mark.parametrize(("family", "text"), [(INET, "10.0.0.1"), (INET6, "fe80::1")])
def test_a_neighbours_event_says_what_the_kernel_has_of_it_now(family: int, text: str) -> None:
    address = ip_address(text)
    (new,) = parse_events(neighbour(family, address.packed))
    assert new == Event(Change.NEIGHBOUR, 6, Neighbour(6, address, REACHABLE, MAC))
    (old,) = parse_events(neighbour(family, address.packed, OLD_NEIGHBOUR))
    assert old.neighbour == Neighbour(6, address)


def test_an_entry_of_a_bridge_is_no_ip_neighbour() -> None:
    assert list(parse_events(neighbour(BRIDGE, b""))) == [Event(Change.NEIGHBOUR, 6)]


def test_a_routes_event_says_which_addresses_it_is_about() -> None:
    six = ip_address("2001:db8::").packed
    data = route(INET, 24, bytes((10, 0, 7, 0))) + route(INET, 0) + route(INET6, 32, six)
    prefixes = [event.prefix for event in parse_events(data)]
    assert prefixes == [ip_network(text) for text in ("10.0.7.0/24", "0.0.0.0/0", "2001:db8::/32")]


def test_a_route_that_cannot_be_read_may_be_about_any_address() -> None:
    data = route(INET, 24, b"\x0a") + route(BRIDGE, 0) + route(INET, 99, bytes(4)) + message(NEW_ROUTE, b"")
    assert list(parse_events(data)) == [Event(Change.ROUTE)] * 4


def test_messages_of_other_kinds_are_passed_over() -> None:
    data = message(NEW_QUEUE, bytes(13)) + neighbour(BRIDGE, b"")
    assert list(parse_events(data)) == [Event(Change.NEIGHBOUR, 6)]


def test_a_message_that_is_cut_short_ends_the_reading() -> None:
    whole = neighbour(INET, bytes(4))
    for size in range(len(whole)):
        assert list(parse_events(whole[:size])) == []


def test_attributes_that_are_cut_short_are_not_there() -> None:
    body = struct.pack("=BxxxiHBB", INET, 6, REACHABLE, 0, 0)
    for rest in (b"\x08", b"\x00\x00\x01\x00", b"\x09\x00\x01\x00\x0a\x00\x00\x01"):
        assert list(parse_events(message(NEW_NEIGHBOUR, body + rest))) == [Event(Change.NEIGHBOUR, 6)]
    assert list(parse_events(message(NEW_NEIGHBOUR, body[:8]))) == [Event(Change.NEIGHBOUR)]


def test_a_length_of_zero_does_not_loop_for_ever() -> None:
    assert list(parse_events(bytes(64))) == []
