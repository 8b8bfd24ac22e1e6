"""Kernel messages become events."""

from __future__ import annotations

import struct

from lbnode.netdev.watcher import Change, Event, parse_events

NEW_LINK, NEW_ADDRESS, NEW_ROUTE, NEW_NEIGHBOUR, NEW_RULE = 16, 20, 24, 28, 32


def message(kind: int, body: bytes) -> bytes:
    """One netlink message, padded as the kernel does."""
    whole = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return whole + bytes(-len(whole) % 4)


def test_each_kind_of_message_names_what_changed_and_where() -> None:
    data = b"".join(
        (
            message(NEW_LINK, struct.pack("=BxHiII", 0, 1, 4, 1, 0)),
            message(NEW_ADDRESS, struct.pack("=BBBBI", 2, 24, 0, 0, 5)),
            message(NEW_ROUTE, struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 0, 0, 1, 0)),
            message(NEW_NEIGHBOUR, struct.pack("=BxxxiHBB", 2, 6, 2, 0, 0)),
        )
    )
    assert list(parse_events(data)) == [
        Event(Change.LINK, 4),
        Event(Change.ADDRESS, 5),
        Event(Change.ROUTE, None),
        Event(Change.NEIGHBOUR, 6),
    ]


def test_messages_of_other_kinds_are_passed_over() -> None:
    data = message(NEW_RULE, bytes(13)) + message(NEW_NEIGHBOUR, struct.pack("=BxxxiHBB", 2, 6, 2, 0, 0))
    assert list(parse_events(data)) == [Event(Change.NEIGHBOUR, 6)]


def test_a_message_that_is_cut_short_ends_the_reading() -> None:
    whole = message(NEW_NEIGHBOUR, struct.pack("=BxxxiHBB", 2, 6, 2, 0, 0))
    for size in range(len(whole)):
        assert list(parse_events(whole[:size])) == []


def test_a_length_of_zero_does_not_loop_for_ever() -> None:
    assert list(parse_events(bytes(64))) == []
