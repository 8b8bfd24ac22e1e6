"""The kernel's TCP sockets in this namespace: who listens, and which flows are held (sock_diag(7), linux/inet_diag.h).

A dump of 20,000 sockets is read in numpy, without an object for each. Listeners and flows are asked for apart:
most machines have few of the former and many of the latter.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lbnode.model.ids import IPNetwork
from lbnode.model.vip import PortRange
from lbnode.netdev.errors import NetdevError

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST_DUMP = 0x301
NLM_F_DUMP_INTR = 0x10
CHUNK_BYTES = 1 << 16
TIMEOUT_S = 5.0
ATTEMPTS = 3

ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 1, 3, 4, 5, 8, 9, 10, 11
HELD = (ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING)
"""States in which somebody still waits for this machine. TIME_WAIT only guards against stray segments."""
TIMER_TIME_WAIT = 3
"""`timer` of a TIME_WAIT socket, also of one that is named FIN_WAIT2 because the other side never closed."""

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
_ERROR = struct.Struct("=i")
_MAPPED = 0xFFFF0000
"""Third word of ::ffff:0:0/96 as a little-endian host loads it."""
_SOCKET = np.dtype(
    [
        ("family", "u1"), ("state", "u1"), ("timer", "u1"), ("retrans", "u1"),
        ("local_port", "<u2"), ("remote_port", "<u2"), ("local", "<u4", 4), ("remote", "<u4", 4),
        ("interface", "<u4"), ("cookie", "<u4", 2), ("rest", "<u4", 5),
    ]
)  # fmt: skip

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Listener:
    """Where somebody takes connections; an unspecified address (0.0.0.0, ::) takes those to any."""

    address: Address
    port: int

    def hears(self, network: IPNetwork, ports: PortRange) -> bool:
        """True when some connection to an address of `network` and one of `ports` would reach this socket."""
        if self.port not in ports:
            return False
        if self.address in network:
            return True
        return int(self.address) == 0 and self.address.version >= network.version


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Flows that this machine holds, a row each: addresses as 4 words and ports as one, as packets carry them.

    `remote`: the client's; IPv4 stands in the last word. `ports`: the client's in the lower half, both in network
    byte order as a little-endian host loads them.
    """

    remote: NDArray[np.uint32]
    local: NDArray[np.uint32]
    ports: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.ports)

    def to(self, network: IPNetwork, ports: PortRange) -> Flows:
        """Return the flows to these addresses and ports of this machine."""
        return self._where(self._are_to(network, ports))

    def but_to(self, network: IPNetwork, ports: PortRange) -> Flows:
        """Return all but the flows to these addresses and ports of this machine."""
        return self._where(~self._are_to(network, ports))

    def _are_to(self, network: IPNetwork, ports: PortRange) -> NDArray[np.bool_]:
        words = np.frombuffer(network.network_address.packed.rjust(16, b"\0"), dtype="<u4")
        mask = np.frombuffer(network.netmask.packed.rjust(16, b"\xff"), dtype="<u4")
        port = (self.ports >> np.uint32(16)).astype(np.uint16).byteswap()
        is_port = (ports.first <= port) & (port <= ports.last)
        chosen: NDArray[np.bool_] = is_port & ((self.local & mask) == words).all(axis=1)
        return chosen

    def _where(self, chosen: NDArray[np.bool_]) -> Flows:
        return Flows(self.remote[chosen], self.local[chosen], self.ports[chosen])


def listeners() -> frozenset[Listener]:
    """Return every TCP socket that takes connections. Raises NetdevError."""
    found = _dump((LISTEN,))
    addresses = (_address(row) for row in found)
    ports = found["local_port"].byteswap().tolist()
    return frozenset(Listener(address, port) for address, port in zip(addresses, ports, strict=True))


def flows() -> Flows:
    """Return the TCP flows that this machine holds: established, half-open or closing. Raises NetdevError."""
    found = _dump(HELD)
    found = found[found["timer"] != TIMER_TIME_WAIT]
    ports = found["remote_port"].astype(np.uint32) | found["local_port"].astype(np.uint32) << np.uint32(16)
    return Flows(_words(found, "remote"), _words(found, "local"), ports)


def _address(row: Any) -> Address:
    if row["family"] == socket.AF_INET:
        return IPv4Address(row["local"][:1].tobytes())
    address = IPv6Address(row["local"].tobytes())
    return address.ipv4_mapped or address


def _words(found: NDArray[np.void], side: str) -> NDArray[np.uint32]:
    """Four words an address; IPv4, also where an IPv6 socket carries it, in the last one and the others zero."""
    words: NDArray[np.uint32] = found[side].astype(np.uint32)
    is_plain = found["family"] == socket.AF_INET
    is_mapped = ~is_plain & (words[:, :2] == 0).all(axis=1) & (words[:, 2] == _MAPPED)
    words[is_plain] = np.roll(words[is_plain], 3, axis=1)
    words[is_mapped, 2] = 0
    return words


def _dump(states: tuple[int, ...]) -> NDArray[np.void]:
    mask = sum(1 << state for state in states)
    raw = b"".join(_rows(family, mask) for family in (socket.AF_INET, socket.AF_INET6))
    return np.frombuffer(raw, dtype=_SOCKET)


def _rows(family: int, mask: int) -> bytes:
    """The socket structures of one family, one after another; asked anew when the table changed under way."""
    try:
        for _ in range(ATTEMPTS):
            with socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
            ) as door:
                door.settimeout(TIMEOUT_S)
                request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, mask)
                size = _HEADER.size + len(request)
                door.send(_HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + request)
                found, is_whole = _read(door)
            if is_whole:
                return found
        return found
    except OSError as error:
        raise NetdevError(f"list TCP sockets: {error.strerror or error}") from error


def _read(door: socket.socket) -> tuple[bytes, bool]:
    rows: list[bytes] = []
    is_whole = True
    while True:
        chunk = door.recv(CHUNK_BYTES)
        for kind, flags, start, end in _messages(chunk):
            is_whole = is_whole and not flags & NLM_F_DUMP_INTR
            if kind == NLMSG_DONE:
                return b"".join(rows), is_whole
            if kind == NLMSG_ERROR:
                code = -_ERROR.unpack_from(chunk, start)[0]
                raise OSError(code, "no TCP socket diagnosis" if code == errno.ENOENT else os.strerror(code))
            if end - start >= _SOCKET.itemsize:
                rows.append(chunk[start : start + _SOCKET.itemsize])


def _messages(chunk: bytes) -> Iterator[tuple[int, int, int, int]]:
    at, unpack, size = 0, _HEADER.unpack_from, _HEADER.size
    while at + size <= len(chunk):
        length, kind, flags, _, _ = unpack(chunk, at)
        if length < size:
            return
        yield kind, flags, at + size, at + length
        at += (length + 3) & ~3
