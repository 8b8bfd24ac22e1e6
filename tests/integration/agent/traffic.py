"""A server on the VIP, and the client's connections to it through GRE."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from tests.integration.agent.machine import PORT, VIP
from tests.integration.cable import Cable, inside
from tests.integration.memory import TIMEOUT_S

BLOCK = bytes(range(256)) * 256


@contextmanager
def echo(cable: Cable) -> Iterator[None]:
    """Echo whatever arrives on the port, on any address of the near machine; one thread a connection."""
    listener = inside(cable.near, lambda: socket.create_server(("0.0.0.0", PORT)))
    open_connections: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        while data := _received(connection):
            connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_connections.append(connection)
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        for connection in open_connections:
            connection.close() if connection.fileno() < 0 else connection.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()
        for connection in (*open_connections, listener):
            connection.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def connect(cable: Cable, timeout_s: float = TIMEOUT_S, address: IPv4Address = VIP) -> socket.socket:
    """Return a connection from the client to the VIP."""
    return inside(cable.far, lambda: socket.create_connection((str(address), PORT), timeout=timeout_s))


def exchange(connection: socket.socket, data: bytes = BLOCK) -> None:
    """Send `data` and read it back, byte for byte."""
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data) and (part := connection.recv(1 << 16)):
        received += part
    sender.join()
    assert received == data


def listen_on_wire() -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    wire.bind(("eth0", 0x0800))
    return wire


def offered_mss(cable: Cable) -> int:
    """Connect, and return the MSS option of the SYN-ACK as it came over the cable."""
    with inside(cable.far, listen_on_wire) as wire:
        wire.settimeout(TIMEOUT_S)
        connect(cable).close()
        while True:
            frame = wire.recv(2048)
            if frame[23] == 6 and frame[47] & 0x12 == 0x12 and frame[26:30] == VIP.packed:
                assert frame[54:56] == b"\x02\x04"
                return int.from_bytes(frame[56:58], "big")
