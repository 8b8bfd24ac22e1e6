"""Connections from ports of one's own."""

from __future__ import annotations

import asyncio
import socket
import struct

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: leave no TIME_WAIT behind, so that the same ports may be used again at once."""


async def dial(
    protocol: asyncio.Protocol,
    source: tuple[str, int],
    target: tuple[str, int],
    timeout_s: float,
    *,
    reset_on_close: bool = False,
) -> None:
    """Connect `protocol` from `source` to `target`. Raises OSError, and TimeoutError when nobody answers in time."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reset_on_close:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        sock.bind(source)
        async with asyncio.timeout(timeout_s):
            await loop.sock_connect(sock, target)
            await loop.create_connection(lambda: protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
