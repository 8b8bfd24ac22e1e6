"""A node in a thread: what the far namespace sends to a VIP goes into GRE towards the near one.

The client is the far namespace's own TCP: its route to the VIP leads into a tun device, whose packets are
wrapped here and sent through a raw socket. The backend's answers come straight back by the cable (direct
server return).
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.integration.cable import Cable, inside, ip

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_BYTES = 1 << 16
CLIENT = IPv4Address("198.51.100.7")
NODE, BACKEND = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
IPPROTO_GRE = 47
DONT_FRAGMENT = 0x4000
GRE = bytes.fromhex("00000800")
GRE_KEYED = bytes.fromhex("20000800")


@dataclass(slots=True)
class Node:
    """What the next packets are sent with; may change while connections run."""

    source: IPv4Address = NODE
    stamp: int = 0
    key: int | None = None
    is_marked: bool = False
    destination: IPv4Address = BACKEND

    def wrap(self, packet: bytes) -> bytes:
        """Return the packet with the outer header of design.md §4; the kernel fills the checksum in."""
        gre = GRE if self.key is None else GRE_KEYED + self.key.to_bytes(4, "big")
        if self.is_marked:
            gre = gre[:1] + b"\x08" + gre[2:]
        size = 20 + len(gre) + len(packet)
        outer = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, size, self.stamp, DONT_FRAGMENT, 64, IPPROTO_GRE, 0,
            self.source.packed, self.destination.packed,
        )  # fmt: skip
        return outer + gre + packet


@contextmanager
def sending(cable: Cable, vip: IPv4Address) -> Iterator[Node]:
    """Route `vip` into the tunnel as long as the context lasts; CLIENT is the client's address."""
    device, raw = inside(cable.far, open_tunnel)
    stop_read, stop_write = os.pipe()
    node = Node()
    thread = threading.Thread(target=_forward, args=(device, raw, stop_read, node))
    try:
        _route(cable, vip)
        thread.start()
        yield node
    finally:
        os.close(stop_write)
        thread.join()
        for descriptor in (device, stop_read):
            os.close(descriptor)
        raw.close()


def open_tunnel() -> tuple[int, socket.socket]:
    """Return a tun device called `tunnel` and a raw socket, both of the present namespace."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tunnel", IFF_TUN | IFF_NO_PI))
    return device, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _route(cable: Cable, vip: IPv4Address) -> None:
    ip("-n", cable.far, "addr", "add", f"{CLIENT}/32", "dev", "lo")
    ip("-n", cable.far, "link", "set", "tunnel", "up")
    ip("-n", cable.far, "route", "add", f"{vip}/32", "dev", "tunnel", "src", str(CLIENT))
    ip("-n", cable.near, "route", "add", f"{CLIENT}/32", "via", str(NODE))


def _forward(device: int, raw: socket.socket, stop: int, node: Node) -> None:
    while True:
        ready, _, _ = select.select([device, stop], [], [])
        if stop in ready:
            return
        packet = os.read(device, PACKET_BYTES)
        if packet[0] >> 4 == 4:
            raw.sendto(node.wrap(packet), (str(BACKEND), 0))
