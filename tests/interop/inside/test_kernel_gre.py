"""What a node sends, taken by the kernel's own gre devices: from a client's socket to a server's and back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lbnode.model.tunnel import IPVersion
from tests.integration.cable import inside
from tests.interop.inside.gre import PORTS, VIPS, World, laid

FAMILIES: tuple[IPVersion, ...] = (4, 6)
UPLOAD = bytes(range(256)) * 1000
"""Many full segments."""
DATAGRAM = b"once there and back"
PATIENCE_S = 60.0
SOCKETS = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with laid() as each:
        yield each


@pytest.mark.parametrize("tunnel", FAMILIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_goes_to_a_socket_behind_the_kernels_gre_and_comes_back(
    world: World, family: IPVersion, tunnel: IPVersion
) -> None:
    before = world.received(tunnel)
    listening = inside("backend", lambda: _bound(socket.SOCK_STREAM, family, tunnel))
    listening.listen()
    serving = threading.Thread(target=_echo_stream, args=(listening,))
    serving.start()
    client = inside("client", lambda: socket.socket(SOCKETS[family], socket.SOCK_STREAM))
    with client:
        client.settimeout(PATIENCE_S)
        client.connect((str(VIPS[family]), PORTS[tunnel]))
        sending = threading.Thread(target=_upload, args=(client,))
        sending.start()
        assert _all_of(client) == UPLOAD
        sending.join()
    serving.join()
    assert world.received(tunnel) - before > len(UPLOAD) // 1500


@pytest.mark.parametrize("tunnel", FAMILIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_does_too(world: World, family: IPVersion, tunnel: IPVersion) -> None:
    before = world.received(tunnel)
    with (
        inside("backend", lambda: _bound(socket.SOCK_DGRAM, family, tunnel)) as server,
        inside("client", lambda: socket.socket(SOCKETS[family], socket.SOCK_DGRAM)) as client,
    ):
        client.settimeout(PATIENCE_S)
        client.sendto(DATAGRAM, (str(VIPS[family]), PORTS[tunnel]))
        said, sender = server.recvfrom(100)
        server.sendto(said, sender)
        assert client.recvfrom(100)[0] == DATAGRAM
    assert world.received(tunnel) - before == 1


def _bound(kind: socket.SocketKind, family: IPVersion, tunnel: IPVersion) -> socket.socket:
    made = socket.socket(SOCKETS[family], kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(PATIENCE_S)
    made.bind((str(VIPS[family]), PORTS[tunnel]))
    return made


def _echo_stream(listening: socket.socket) -> None:
    with listening:
        taken, _ = listening.accept()
    with taken:
        taken.settimeout(PATIENCE_S)
        while part := taken.recv(1 << 16):
            taken.sendall(part)


def _upload(client: socket.socket) -> None:
    client.sendall(UPLOAD)
    client.shutdown(socket.SHUT_WR)


def _all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))
