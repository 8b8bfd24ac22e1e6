"""Established connections of one end alone, as a backend has them: the other ends would be looked up among, too.

TCP_REPAIR (tcp(7) of CRIU) makes them without a handshake. Processes share them out: each has its limit of open files.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from multiprocessing import get_context
from multiprocessing.connection import Connection

FIRST_PORT, PORTS = 1024, 1 << 13
"""Of a client's address: flows number 0 to PORTS - 1 are the first address's, and so on."""
_TCP_REPAIR = 19
_PATIENCE_S = 60


@contextmanager
def established(vip: IPv4Address, port: int, client: IPv4Address, flows: int) -> Iterator[None]:
    """Hold a connection to the VIP for each flow, in the calling thread's network namespace."""
    context = get_context("fork")
    with ExitStack() as stack:
        for first in range(0, flows, PORTS):
            ours, theirs = context.Pipe()
            far = [(str(client + first // PORTS), FIRST_PORT + n) for n in range(min(PORTS, flows - first))]
            holder = context.Process(target=_hold, args=((str(vip), port), far, theirs))
            holder.start()
            stack.callback(holder.join)
            stack.callback(ours.send, "let go")
            theirs.close()
            if not ours.poll(_PATIENCE_S) or ours.recv() != "held":
                raise AssertionError("the sockets to be looked up could not be opened")
        yield


def _hold(near: tuple[str, int], far: list[tuple[str, int]], parent: Connection) -> None:
    """Open the connections, say so, and stay until told to end."""
    held = [_established(near, each) for each in far]
    parent.send("held")
    parent.recv()
    os._exit(len(held) != len(far))


def _established(near: tuple[str, int], far: tuple[str, int]) -> socket.socket:
    each = socket.socket()
    each.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    each.bind(near)
    each.connect(far)
    return each
