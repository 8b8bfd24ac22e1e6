"""ICMP echo with packets of a chosen size that nobody on the way may cut (RFC 792, RFC 4443): what a path carries.

The sizes count from the IP header on. Needs CAP_NET_RAW.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from lbnode.model.ids import IPAddress

ECHO = struct.Struct("!BBHHH")
IPV4_HEADER, IPV6_HEADER = 20, 40
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}
RECEIVE_BYTES = 1 << 16


class Echoes:
    """Open sockets for echo requests and their answers; a context manager, used on one event loop.

    Raises PermissionError without CAP_NET_RAW.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._identity = os.getpid() & 0xFFFF
        self._sequence = 0
        self._waiting: dict[tuple[IPAddress, int], asyncio.Future[None]] = {}
        self._sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets.values():
            self._loop.remove_reader(each)
            each.close()

    async def answered(self, address: IPAddress, sizes: Iterable[int], patience_s: float) -> frozenset[int]:
        """Send one packet of each size, all at once; return the sizes that were answered in time.

        Sizes that the own interface does not carry are not sent, and so not answered.
        """
        waiting = {size: self._send(address, size) for size in sizes}
        sent = [future for future in waiting.values() if future is not None]
        if sent:
            await asyncio.wait(sent, timeout=patience_s)
        for future in sent:
            future.cancel()
        return frozenset(
            size for size, future in waiting.items() if future is not None and not future.cancelled()
        )

    def _send(self, address: IPAddress, size: int) -> asyncio.Future[None] | None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        header = IPV4_HEADER if address.version == 4 else IPV6_HEADER
        padding = bytes(max(0, size - header - ECHO.size))
        request = _echo(REQUEST[address.version], self._identity, self._sequence, padding)
        try:
            self._socket(address.version).sendto(request, (str(address), 0))
        except PermissionError:
            raise
        except OSError:
            return None  # too long for the interface, or no way there
        future = self._loop.create_future()
        self._waiting[address, self._sequence] = future
        return future

    def _socket(self, version: int) -> socket.socket:
        if version not in self._sockets:
            self._sockets[version] = opened = _open(version)
            self._loop.add_reader(opened, self._receive, version)
        return self._sockets[version]

    def _receive(self, version: int) -> None:
        packet, sender = self._sockets[version].recvfrom(RECEIVE_BYTES)
        at = (packet[0] & 15) * 4 if version == 4 else 0
        if len(packet) < at + ECHO.size:
            return
        kind, _, _, identity, sequence = ECHO.unpack_from(packet, at)
        if kind != REPLY[version] or identity != self._identity:
            return
        waiting = self._waiting.pop((_address(sender[0]), sequence), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def _address(text: str) -> IPAddress:
    return ip_address(text.partition("%")[0])


def _open(version: int) -> socket.socket:
    """A raw socket that never cuts a packet, and never goes by what the kernel believes of a path's MTU."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    if version == 4:
        opened = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        opened.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        opened = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    return opened


def _echo(kind: int, identity: int, sequence: int, padding: bytes) -> bytes:
    """An echo request; for IPv6 the kernel fills the checksum in."""
    bare = ECHO.pack(kind, 0, 0, identity, sequence)
    return ECHO.pack(kind, 0, checksum(bare + padding), identity, sequence) + padding


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`, of an even number of bytes or padded to one."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
