"""Real sockets for the agent's trials: clients that we play over a tun device, so that we know every number.

All in the network namespace of the caller, which must be its own (`enclosure`).
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import select
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from lbnode.dataplane.packet_model import Packet, checksum
from tests.fuzz import headers
from tests.fuzz.headers import ACK, FIN, RST, SYN
from tests.fuzz.worlds import Address, AgentWorld, Number, Socket, SocketKind

TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
DEVICE = b"clients"
PACKET_BYTES = 1 << 16
PATIENCE_S = 5.0
MASK = 0xFFFFFFFF
NEAR = 1 << 20
"""How far from what it expects a closed flow's packets may be."""
COOKIE_SIZES = 4
"""A cookie hides which of four segment sizes the client named; ours has the least of them."""
_COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")
_numbers = itertools.count(1)


@dataclass(slots=True)
class Client:
    """One client's end: `sent` is the next number that it would send, `heard` the next that it expects."""

    socket: Socket
    sent: int
    heard: int = 0

    def segment(self, flags: int, sequence: int | None = None) -> bytes:
        """Return an IP packet with proper checksums."""
        said = self.sent if sequence is None else sequence
        head = headers.tcp(
            self.socket.client_port, self.socket.port, flags, sequence=said & MASK, acknowledged=self.heard
        )
        source, destination = self.socket.client.packed, self.socket.address.packed
        pseudo = source + destination + struct.pack("!II", headers.TCP, len(head))
        head = head[:16] + checksum(pseudo + head).to_bytes(2, "big") + head[18:]
        if self.socket.client.version == 6:
            return headers.ipv6(source, destination, headers.TCP, head)
        packet = headers.ipv4(source, destination, headers.TCP, head)
        return packet[:10] + checksum(packet[:20]).to_bytes(2, "big") + packet[12:]


@dataclass(slots=True)
class Wire:
    """The tun device behind which all clients are."""

    device: int

    def send(self, packet: bytes) -> None:
        os.write(self.device, packet)

    def answer(self, client: Client, flags: int) -> int:
        """Return the sequence number of the next packet to the client that has all `flags`."""
        while select.select([self.device], [], [], PATIENCE_S)[0]:
            packet = os.read(self.device, PACKET_BYTES)
            found = _addressed(packet)
            if found is None:
                continue
            (address, port), sequence, said = found
            if (address, port) == (client.socket.client, client.socket.client_port) and said & flags == flags:
                return sequence
        raise AssertionError(f"{client.socket}: the kernel did not answer")

    def forget(self) -> None:
        """Throw away what has come."""
        while select.select([self.device], [], [], 0)[0]:
            os.read(self.device, PACKET_BYTES)


def _addressed(packet: bytes) -> tuple[tuple[Address, int], int, int] | None:
    """Return destination, sequence number and flags of a TCP packet from the kernel, which adds no options to IP."""
    size, protocol, address = (
        (20, packet[9], packet[16:20]) if packet[0] >> 4 == 4 else (40, packet[6], packet[24:40])
    )
    if protocol != headers.TCP:
        return None
    _, port, sequence = struct.unpack_from("!HHI", packet, size)
    return (ip_address(address), port), sequence, packet[size + 13]


@contextmanager
def wire() -> Iterator[Wire]:
    """Make the device; the namespace needs addresses and routes (`enclosure.give_addresses`)."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN_NO_PI))
    try:
        yield Wire(device)
    finally:
        os.close(device)


@dataclass(slots=True)
class LiveSockets:
    """The sockets of a world, alive. Knows what the kernel must say of a packet."""

    clients: dict[tuple[bytes, int, bytes, int], Client] = field(default_factory=dict)
    by_place: list[Client] = field(default_factory=list)

    def add(self, client: Client) -> None:
        each = client.socket
        self.by_place.append(client)
        self.clients[_wide(each.client), each.client_port, _wide(each.address), each.port] = client

    def number(self, number: Number) -> int:
        """Return the 32 bits that a packet is to carry."""
        client = self.by_place[number.socket]
        return ((client.sent if number.is_sequence else client.heard) + number.delta) & MASK

    def judge(self, inner: Packet) -> str:
        """Return how the kernel holds the flow of `inner`, or an empty string (design.md §5.4)."""
        flow = inner.flow
        client = self.clients.get((flow.source, flow.source_port, flow.destination, flow.destination_port))
        if client is None:
            return ""
        if inner.tcp is None:
            return "held" if client.socket.kind in (SocketKind.HELD, SocketKind.HANDSHAKE) else ""
        return client.socket.kind.value if _fits(client, inner) else ""


def _wide(address: Address) -> bytes:
    return address.packed.rjust(16, b"\0")


def _fits(client: Client, inner: Packet) -> bool:
    tcp = inner.tcp
    assert tcp is not None
    ahead, acknowledged = tcp.sequence - client.sent, tcp.acknowledged - client.heard
    match client.socket.kind:
        case SocketKind.HELD:
            return True
        case SocketKind.HANDSHAKE:
            return bool(tcp.flags & ACK) and acknowledged & MASK == 0
        case SocketKind.COOKIE:
            answers = tcp.flags & ACK and not tcp.flags & (RST | SYN)
            return bool(answers) and (acknowledged - ahead) & MASK < COOKIE_SIZES
        case SocketKind.TIME_WAIT:
            return (ahead + NEAR) & MASK < 2 * NEAR


@contextmanager
def live(world: AgentWorld, wire: Wire) -> Iterator[LiveSockets]:
    """Hold the world's sockets; all are gone afterwards."""
    sockets = LiveSockets()
    with ExitStack() as stack:
        wire.forget()
        listeners = {place: stack.enter_context(_listener(*place)) for place in _listened(world)}
        for each in world.sockets:
            client = Client(each, (next(_numbers) << 18) & MASK)
            stack.callback(_reset, wire, client)
            accepted = _open(client, wire, listeners[each.address, each.port])
            if accepted:
                stack.enter_context(accepted)
            sockets.add(client)
        yield sockets


def _listened(world: AgentWorld) -> Iterable[tuple[Address, int]]:
    heard = [
        (vip.address, vip.port)
        for vip in world.vips
        if vip.heard and vip.protocol == headers.TCP and vip.is_one and isinstance(vip.address, IPv4Address)
    ]
    return dict.fromkeys([*heard, *((each.address, each.port) for each in world.sockets)])


def _listener(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((str(address), port))
    listener.listen(64)
    return listener


def _open(client: Client, wire: Wire, listener: socket.socket) -> socket.socket | None:
    """Bring the kernel to hold the client's flow as its kind says; return the connection to be kept, if any."""
    _COOKIES.write_text("2" if client.socket.kind is SocketKind.COOKIE else "1")
    wire.send(client.segment(SYN))
    client.sent = client.sent + 1 & MASK
    client.heard = wire.answer(client, SYN | ACK) + 1 & MASK
    if client.socket.kind not in (SocketKind.HELD, SocketKind.TIME_WAIT):
        return None
    wire.send(client.segment(ACK))
    connection = listener.accept()[0]
    if client.socket.kind is SocketKind.HELD:
        return connection
    connection.close()
    client.heard = wire.answer(client, FIN) + 1 & MASK
    wire.send(client.segment(FIN | ACK))
    client.sent = client.sent + 1 & MASK
    return None


def _reset(wire: Wire, client: Client) -> None:
    """Let the kernel forget the flow, whatever it holds of it."""
    try:
        wire.send(client.segment(RST))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
