"""Getting into a node by gRPC: with the right certificate, without one, with others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lbnode.certs.revocation import fingerprint
from lbnode.daemon.credentials import Credentials
from lbnode.model.access import Role
from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RefusedError, UnreachableError
from lbnode.rpc.port import TlsMaterial
from lbnode.rpc.server import RpcServer
from tests.certificates import Authority
from tests.unit.rpc.cluster import MemoryCluster

DRAIN = DrainBackend(BackendName("b1"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "fleet")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority that says the same of itself."""
    return Authority(tmp_path / "stranger")


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def revoked(tmp_path: Path) -> Path:
    """The server's list of revoked certificates."""
    return tmp_path / "revoked"


@pytest.fixture
async def server(
    authority: Authority, cluster: MemoryCluster, tmp_path: Path, revoked: Path
) -> AsyncIterator[RpcServer]:
    files = authority.write(authority.issue(Role.NODE, "n1"))
    revoked.touch()
    credentials = Credentials(files, "rpc.tls", serves=True, revoked=revoked)
    server = RpcServer(cluster, ["0.0.0.0:0", f"unix:{tmp_path}/rpc.sock"], credentials)
    await server.start()
    yield server
    await server.stop(0)


def port_of(server: RpcServer) -> str:
    return "127.0.0.1:" + server.addresses[0].rpartition(":")[2]


async def ask(server: RpcServer, tls: TlsMaterial | None) -> str:
    """Ask for the status as `tls`, and return the fleet's name."""

    def ask_once() -> str:
        with FleetClient(port_of(server), tls=tls) as client:
            return client.status().fleet

    return await asyncio.to_thread(ask_once)


async def drain(server: RpcServer, tls: TlsMaterial) -> None:
    def drain_once() -> None:
        with FleetClient(port_of(server), tls=tls) as client:
            client.drain_backend(DRAIN)

    await asyncio.to_thread(drain_once)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.READER, Role.NODE])
async def test_whoever_has_to_do_with_it_may_look(
    server: RpcServer, authority: Authority, role: Role
) -> None:
    assert await ask(server, authority.material(role)) == "demo"


async def test_an_operator_may_change(
    server: RpcServer, authority: Authority, cluster: MemoryCluster
) -> None:
    await drain(server, authority.material(Role.OPERATOR, "alice"))
    assert "b1" in {name for names in cluster.view.intents.drained_backends.values() for name in names}


@pytest.mark.parametrize("role", [Role.READER, Role.NODE, Role.BACKEND])
async def test_others_may_not_change(
    server: RpcServer, authority: Authority, cluster: MemoryCluster, role: Role
) -> None:
    before = cluster.view.intents
    with pytest.raises(
        RefusedError, match=f"{role.value} x of fleet demo may not DrainBackend; use the cert"
    ):
        await drain(server, authority.material(role))
    assert cluster.view.intents == before


async def test_a_backend_may_not_even_look(server: RpcServer, authority: Authority) -> None:
    with pytest.raises(RefusedError, match="backend b1 of fleet demo may not GetStatus"):
        await ask(server, authority.material(Role.BACKEND, "b1"))


async def test_a_revoked_certificate_is_refused_at_once_on_a_connection_that_stands(
    server: RpcServer, authority: Authority, revoked: Path
) -> None:
    lost, renewed = (authority.material(Role.OPERATOR, "alice") for _ in range(2))
    with FleetClient(port_of(server), tls=lost) as client:
        assert (await asyncio.to_thread(client.status)).fleet == "demo"
        revoked.write_text(f"{fingerprint(lost.certificate)}  a laptop\n")
        with pytest.raises(
            RefusedError, match="this certificate of operator alice of fleet demo was revoked"
        ):
            await asyncio.to_thread(client.status)
    with pytest.raises(RefusedError, match="was revoked"):
        await ask(server, lost)
    assert await ask(server, renewed) == "demo"
    revoked.write_text("evenkeel://demo/operator/alice\n")
    with pytest.raises(RefusedError, match="was revoked"):
        await ask(server, renewed)
    assert await ask(server, authority.material(Role.OPERATOR, "bob")) == "demo"


async def test_without_a_certificate_nobody_gets_in(server: RpcServer, authority: Authority) -> None:
    trusting = grpc.ssl_channel_credentials(authority.pair.certificate)
    async with grpc.aio.secure_channel(port_of(server), trusting) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_tls_nobody_gets_in(server: RpcServer) -> None:
    with pytest.raises(UnreachableError, match="may want TLS: give --cert, --key and --ca"):
        await ask(server, None)


async def test_a_certificate_of_another_authority_does_not_get_in(
    server: RpcServer, authority: Authority, stranger: Authority
) -> None:
    forged = stranger.material(Role.OPERATOR, "alice")
    believing = TlsMaterial(forged.certificate, forged.key, authority.pair.certificate)
    with pytest.raises(UnreachableError, match="did not take this certificate"):
        await ask(server, believing)


async def test_an_expired_certificate_does_not_get_in(server: RpcServer, authority: Authority) -> None:
    with pytest.raises(UnreachableError, match="did not take this certificate"):
        await ask(server, authority.material(Role.OPERATOR, "alice", days=-1))


async def test_a_certificate_for_another_fleet_of_the_same_authority_is_refused(
    server: RpcServer, authority: Authority
) -> None:
    with pytest.raises(RefusedError, match="operator alice of fleet other is nobody in fleet demo"):
        await ask(server, authority.material(Role.OPERATOR, "alice", fleet="other"))


async def test_a_node_with_a_certificate_of_another_authority_is_not_believed(
    server: RpcServer, stranger: Authority
) -> None:
    with pytest.raises(UnreachableError, match="not signed by the authority in --ca"):
        await ask(server, stranger.material(Role.OPERATOR))


async def test_an_operators_certificate_is_no_way_to_pose_as_a_node(
    authority: Authority, cluster: MemoryCluster
) -> None:
    credentials = Credentials(authority.write(authority.issue(Role.OPERATOR, "mallory")), "rpc.tls")
    server = RpcServer(cluster, ["127.0.0.1:0"], credentials)
    await server.start()
    with pytest.raises(UnreachableError):
        await ask(server, authority.material(Role.OPERATOR, "alice"))
    await server.stop(0)


async def test_the_unix_socket_needs_no_certificate(server: RpcServer) -> None:
    with FleetClient(server.addresses[1]) as client:
        assert (await asyncio.to_thread(client.status)).fleet == "demo"
        await asyncio.to_thread(client.drain_backend, DRAIN)


async def test_renewed_files_are_taken_up_by_the_next_connection(
    server: RpcServer, authority: Authority, tmp_path: Path
) -> None:
    successor = Authority(tmp_path / "successor")
    successor.folder = authority.folder
    successor.write(successor.issue(Role.NODE, "n1"))
    assert await ask(server, successor.material(Role.READER)) == "demo"
    with pytest.raises(UnreachableError):
        await ask(server, authority.material(Role.READER))


async def test_renewed_files_of_no_use_leave_the_ones_before_in_use(
    server: RpcServer, authority: Authority
) -> None:
    settings = authority.write(authority.issue(Role.NODE, "n1", days=-1))
    assert await ask(server, authority.material(Role.READER)) == "demo"
    settings.certificate.unlink()
    assert await ask(server, authority.material(Role.READER)) == "demo"
    authority.write(authority.issue(Role.NODE, "n1"))
    assert await ask(server, authority.material(Role.READER)) == "demo"
