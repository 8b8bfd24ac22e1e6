"""Changes of links, neighbours, addresses and routes, as they happen.

A burst that overflows the socket costs nothing but one event of kind OVERFLOW, after which the receiver reads
everything.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from enum import IntFlag
from types import TracebackType

from lbnode.netdev.events import Change, Event, parse_events

RECEIVE_BYTES = 1 << 16
BUFFER_BYTES = 1 << 20
"""Of events that wait: some thousands."""


class Group(IntFlag):
    """Multicast groups of rtnetlink (linux/rtnetlink.h: RTMGRP_*, and 1 << group - 1 for those without such a name)."""

    LINK = 0x1
    NEIGHBOUR = 0x4
    IPV4_ADDRESS = 0x10
    IPV4_ROUTE = 0x40
    IPV4_RULE = 0x80
    IPV6_ADDRESS = 0x100
    IPV6_ROUTE = 0x400
    IPV6_RULE = 0x40000
    NEXT_HOP = 0x80000000


ALL_GROUPS = Group(sum(Group))


class Watcher:
    """Calls `on_event` in the running loop for each change; open it in the namespace to be watched."""

    def __init__(self, on_event: Callable[[Event], None], groups: Group = ALL_GROUPS) -> None:
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
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
            self._on_event(Event(Change.OVERFLOW))
            return
        for event in parse_events(data):
            self._on_event(event)
