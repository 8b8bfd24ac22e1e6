"""Changes of links, neighbours, addresses and routes, as they happen.

An event says what kind of thing changed and where, never the new state: the receiver reads that afresh. So a
burst that overflows the socket costs nothing but one event of kind OVERFLOW, after which the receiver reads
everything.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag
from types import TracebackType

RECEIVE_BYTES = 1 << 16
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
NDMSG_IFINDEX = struct.Struct("=4xi")  # struct ndmsg: family and padding, then the interface
IFINFOMSG_IFINDEX = struct.Struct("=4xi")  # struct ifinfomsg: family, pad, type, then the interface
IFADDRMSG_IFINDEX = struct.Struct(
    "=4xI"
)  # struct ifaddrmsg: family, prefix, flags, scope, then the interface


class Group(IntFlag):
    """Multicast groups of rtnetlink (linux/rtnetlink.h, RTMGRP_*)."""

    LINK = 0x1
    NEIGHBOUR = 0x4
    IPV4_ADDRESS = 0x10
    IPV4_ROUTE = 0x40
    IPV6_ADDRESS = 0x100
    IPV6_ROUTE = 0x400


class Change(Enum):
    """What kind of thing changed."""

    LINK = "link"
    NEIGHBOUR = "neighbour"
    ADDRESS = "address"
    ROUTE = "route"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed; `ifindex` is None where the kernel's message is not about one interface."""

    change: Change
    ifindex: int | None


# RTM_NEWx, RTM_DELx → what it is about and where its interface stands
MESSAGES: dict[int, tuple[Change, struct.Struct | None]] = {
    16: (Change.LINK, IFINFOMSG_IFINDEX),
    17: (Change.LINK, IFINFOMSG_IFINDEX),
    20: (Change.ADDRESS, IFADDRMSG_IFINDEX),
    21: (Change.ADDRESS, IFADDRMSG_IFINDEX),
    24: (Change.ROUTE, None),
    25: (Change.ROUTE, None),
    28: (Change.NEIGHBOUR, NDMSG_IFINDEX),
    29: (Change.NEIGHBOUR, NDMSG_IFINDEX),
}

ALL_GROUPS = (
    Group.LINK
    | Group.NEIGHBOUR
    | Group.IPV4_ADDRESS
    | Group.IPV4_ROUTE
    | Group.IPV6_ADDRESS
    | Group.IPV6_ROUTE
)  # fmt: skip


class Watcher:
    """Calls `on_event` in the running loop for each change; open it in the namespace to be watched."""

    def __init__(self, on_event: Callable[[Event], None], groups: Group = ALL_GROUPS) -> None:
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, int(groups)))
        self._loop.add_reader(self._socket.fileno(), self._read)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching; no call comes after this."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._on_event(Event(Change.OVERFLOW, None))
            return
        for event in parse_events(data):
            self._on_event(event)


def parse_events(data: bytes) -> Iterator[Event]:
    """Yield the events in one datagram of the kernel; messages of other kinds are passed over."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        if kind in MESSAGES:
            change, where = MESSAGES[kind]
            body = data[offset + HEADER.size : offset + length]
            known = where is not None and len(body) >= where.size
            yield Event(change, where.unpack_from(body)[0] if where and known else None)
        offset += (length + 3) & ~3
