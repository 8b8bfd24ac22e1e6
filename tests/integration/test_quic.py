"""QUIC on real traffic: connections keep their backend when the client's address changes, or who owns its bucket."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend
from tests.integration.agents import VIP, Member, Segment
from tests.integration.cable import enter, eventually, inside
from tests.integration.fleet_of_one import fleet_of, node_on, owners, segment_behind_a_node
from tests.integration.nodes import WEB, NodeMachine
from tests.integration.quic_server import PROTOCOL

PORT = 4433
CONFIG_ID = 3
CONNECTIONS = 16
PATIENCE_S = 5.0
SOON_S = 30.0

T = TypeVar("T")


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    with segment_behind_a_node(tmp_path) as made:
        yield made


@pytest.fixture
def node(segment: Segment, tmp_path: Path) -> Iterator[NodeMachine]:
    """A node and two backends, on each of them a QUIC server that mints its connection ids."""
    vip = {"port": PORT, "protocol": "udp"}
    servers: list[subprocess.Popen[bytes]] = []
    make_certificate(tmp_path)
    with node_on(segment, tmp_path, fleet_of(segment, vip, quic={"config_id": CONFIG_ID})) as machine:
        try:
            servers += [start_server(member, tmp_path) for member in segment.members]
            eventually("both serve", lambda: machine.status().agree and owners(machine) == {"b1", "b2"})
            yield machine
        finally:
            for server in servers:
                server.kill()
                server.wait()


def named(node: NodeMachine) -> int:
    """Packets that the node sent where their connection id said."""
    return int(json.loads(node.run("status", "--json"))["packets"]["flow_named"])


def make_certificate(directory: Path) -> None:
    """Write a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "quic.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain, form = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    (directory / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def start_server(member: Member, directory: Path) -> subprocess.Popen[bytes]:
    """Start it beside the backend's agent, which tells it the backend's id; return once it listens."""
    of_agent = member.directory / "run" / "id"
    eventually(f"the agent of {member.name} writes its id", of_agent.exists)
    server = subprocess.Popen(
        [
            "nsenter", f"--net=/run/netns/{member.namespace}", sys.executable, "-m", "tests.integration.quic_server",
            str(VIP), str(PORT), member.name, str(directory / "cert.pem"), str(directory / "key.pem"),
            str(CONFIG_ID), str(of_agent),
        ]
    )  # fmt: skip
    eventually(f"{member.name} listens", lambda: f":{PORT:04X} " in inside(member.namespace, udp_sockets))
    return server


def udp_sockets() -> str:
    return Path("/proc/thread-self/net/udp").read_text()


class Clients:
    """Connections of one client, in its namespace, on a loop of their own."""

    def __init__(self, namespace: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(namespace,))
        self._open = AsyncExitStack()
        self._connections: list[QuicConnectionProtocol] = []
        self.homes: list[str] = []

    def _run(self, namespace: str) -> None:
        enter(namespace)
        self._loop.run_forever()

    def start(self) -> None:
        self._thread.start()
        self.homes = self._call(self._connect_all())

    def close(self) -> None:
        self._call(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answers(self) -> list[str]:
        """Return who answers each connection."""
        return self._call(self._ask_all())

    def answers_from_elsewhere(self) -> list[str]:
        """Let every connection go on from another port by another connection id; return who answers each."""
        self._call(self._migrate_all())
        return self.answers()

    def _call(self, job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(SOON_S)

    async def _connect_all(self) -> list[str]:
        settings = QuicConfiguration(alpn_protocols=[PROTOCOL], verify_mode=ssl.CERT_NONE)
        for _ in range(CONNECTIONS):
            opened = connect(str(VIP), PORT, configuration=settings, local_port=0)
            self._connections.append(await self._open.enter_async_context(opened))
        return await self._ask_all()

    async def _close_all(self) -> None:
        await self._open.aclose()
        for connection in self._connections:
            cast(asyncio.DatagramTransport, connection._transport).close()
        await asyncio.sleep(0)

    async def _ask_all(self) -> list[str]:
        return list(await asyncio.gather(*map(self._ask, self._connections)))

    async def _ask(self, connection: QuicConnectionProtocol) -> str:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await connection.create_stream()
            writer.write(b"who?")
            writer.write_eof()
            return (await reader.read()).decode()

    async def _migrate_all(self) -> None:
        for connection in self._connections:
            await self._migrate(connection)

    async def _migrate(self, connection: QuicConnectionProtocol) -> None:
        connection.change_connection_id()
        before = cast(asyncio.DatagramTransport, connection._transport)
        await self._loop.create_datagram_endpoint(lambda: connection, local_addr=("::", 0))
        before.close()


@contextmanager
def clients_in(namespace: str) -> Iterator[Clients]:
    clients = Clients(namespace)
    try:
        clients.start()
        yield clients
    finally:
        clients.close()


def test_connections_keep_their_backend_when_clients_move_and_backends_drain(
    segment: Segment, node: NodeMachine
) -> None:
    with clients_in(segment.far) as clients:
        assert set(clients.homes) == {"b1", "b2"}
        assert clients.answers_from_elsewhere() == clients.homes, "clients moved"
        assert named(node) > CONNECTIONS

        with node.client() as client:
            client.drain_backend(DrainBackend(BackendName("b1"), WEB))
        eventually("b1 gets no new flows", lambda: node.status().agree and owners(node) == {"b2"})
        assert clients.answers() == clients.homes, "b1 was drained"
        assert clients.answers_from_elsewhere() == clients.homes, "b1 was drained, and clients moved"
