"""QUIC on real traffic: connections keep their backend whatever becomes of nodes, backends and the client's address."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import yaml
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lbnode.dataplane.inspection import Inspection
from lbnode.lab import assembly, configs, processes, teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.plan import POOL, VIP, Host, Plan, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.shell import enter
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.requests import AddBackend, DrainBackend, DrainNode
from tests.e2e.conftest import free_name
from tests.e2e.quic_server import PROTOCOL

PORT = 4433
CONFIG_ID = 3
CONNECTIONS = 24
PATIENCE_S = 5.0
SOON_S = 30.0

T = TypeVar("T")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunningLab]:
    """Two nodes and three backends; on each backend a QUIC server that mints connection ids."""
    name = free_name("quic")
    try:
        plan = Plan(name, nodes=2, backends=3, pool_settings={"quic": {"config_id": CONFIG_ID}})
        lab = RunningLab(bring_up(plan, print))
        fleet = configs.fleet_config(lab.plan)
        fleet["vips"].append({"address": str(VIP), "port": PORT, "protocol": "udp", "pool": POOL})
        with lab.client("n1") as client:
            client.apply(yaml.safe_dump(fleet))
        make_certificate(tmp_path)
        for backend in lab.plan.of(Role.BACKEND):
            start_quic_server(lab, backend, tmp_path)
        yield lab
    finally:
        teardown.take_down(name)


def make_certificate(directory: Path) -> None:
    """Write a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "quic.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (directory / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def start_quic_server(lab: RunningLab, backend: Host, directory: Path) -> None:
    """Start it beside the backend's agent, which tells it the backend's id."""
    of_agent = configs.run_dir(lab.directory(backend.name)) / "id"
    wait_until(of_agent.exists, SOON_S, f"the agent of {backend.name} to write its id")
    command = (
        sys.executable, "-m", "tests.e2e.quic_server", str(VIP), str(PORT), backend.name,
        str(directory / "cert.pem"), str(directory / "key.pem"), str(CONFIG_ID), str(of_agent),
    )  # fmt: skip
    processes.start(backend.namespace, command, lab.directory(backend.name) / "quic.log")


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
        self._call(self._open.aclose())
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
            connection.change_connection_id()
            before = cast(asyncio.DatagramTransport, connection._transport)
            await self._loop.create_datagram_endpoint(lambda each=connection: each, local_addr=("::", 0))
            before.close()


@contextmanager
def clients_of(lab: RunningLab) -> Iterator[Clients]:
    clients = Clients(lab.plan.namespace("client"))
    try:
        clients.start()
        yield clients
    finally:
        clients.close()


def owners(lab: RunningLab) -> set[str]:
    """Who gets new flows by the table in use; nobody while a change is under way."""
    with lab.client("n1") as client:
        status = client.status()
    (pool,) = status.pools
    if not status.agree or pool.offered is not None:
        return set()
    return {slot.backend or "" for slot in pool.slots if slot.state is BackendState.ACTIVE}


def named(lab: RunningLab) -> int:
    """Packets that nodes sent where their connection id said."""
    nodes = [Inspection.open(configs.run_dir(lab.directory(node.name)) / "bpf") for node in lab.nodes]
    return sum(node.counters()["flow_named"].packets for node in nodes)


@pytest.mark.timeout(180)
def test_connections_keep_their_backend_when_clients_nodes_and_backends_change(lab: RunningLab) -> None:
    with clients_of(lab) as clients:
        assert set(clients.homes) == {"b1", "b2", "b3"}
        assert clients.answers_from_elsewhere() == clients.homes, "clients moved"
        assert named(lab) > CONNECTIONS

        with lab.client("n1") as client:
            client.drain_node(DrainNode(NodeName("n2")))
        wait_until(lambda: "n2" not in lab.next_hops(), SOON_S, "n2 to be withdrawn")
        assert clients.answers() == clients.homes, "a node went"

        with lab.client("n1") as client:
            client.drain_backend(DrainBackend(BackendName("b1"), PoolName(POOL)))
        wait_until(lambda: owners(lab) == {"b2", "b3"}, SOON_S, "b1 to get no new flows")
        assert clients.answers_from_elsewhere() == clients.homes, "b1 was drained"

        lab.record = assembly.add_backend(lab.record)
        b4 = lab.plan.of(Role.BACKEND)[-1]
        with lab.client("n1") as client:
            client.add_backend(AddBackend(BackendName(b4.name), PoolName(POOL), b4.address, force=True))
        wait_until(lambda: b4.name in owners(lab), SOON_S, f"{b4.name} to get new flows")
        assert clients.answers_from_elsewhere() == clients.homes, f"{b4.name} was added"
