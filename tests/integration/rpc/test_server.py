"""The real server and real clients: our own, and those of the standard health and reflection services."""

from __future__ import annotations

import asyncio
import re
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lbnode.api.v1 import control_pb2, control_pb2_grpc, status_pb2, status_pb2_grpc
from lbnode.model.explanation import FlowQuestion
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import DrainBackend
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import ListenError, RefusedError, UnreachableError
from lbnode.rpc.server import RpcServer
from lbnode.settings.fleet_text import write_fleet
from tests.unit.core.fleets import VIP, fleet
from tests.unit.rpc.cluster import MemoryCluster

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Question = reflection_pb2.ServerReflectionRequest
Answer = reflection_pb2.ServerReflectionResponse
SERVICES = ["evenkeel.v1.Control", "evenkeel.v1.Status"]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
async def server(cluster: MemoryCluster, tmp_path: Path) -> AsyncIterator[RpcServer]:
    server = RpcServer(cluster, [f"unix:{tmp_path}/rpc.sock", "127.0.0.1:0", "[::1]:0"])
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def channel(server: RpcServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
        yield channel


@pytest.mark.parametrize("which", [0, 1, 2], ids=["unix", "ipv4", "ipv6"])
async def test_every_address_answers_for_the_fleet(
    server: RpcServer, cluster: MemoryCluster, which: int
) -> None:
    with FleetClient(server.addresses[which]) as client:
        assert await asyncio.to_thread(client.status) == await cluster.status()


async def test_the_socket_is_for_its_owner_and_group_alone_and_goes_with_the_server(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    path = tmp_path / "rpc.sock"
    server = RpcServer(cluster, [f"unix:{path}"])
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await server.stop(0)
    assert not path.exists()


async def test_a_restarted_server_takes_over_the_socket_of_a_killed_one(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    path = tmp_path / "rpc.sock"
    script = (
        "import asyncio, os, sys\n"
        "from lbnode.rpc.server import RpcServer\n"
        "async def main():\n"
        "    await RpcServer(None, [sys.argv[1]]).start()\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script, f"unix:{path}")
    assert await asyncio.wait_for(killed.wait(), 30) == -9
    assert path.exists()
    server = RpcServer(cluster, [f"unix:{path}"])
    await server.start()
    with FleetClient(server.addresses[0]) as client:
        assert (await asyncio.to_thread(client.status)).fleet == "demo"
    await server.stop(0)


async def test_an_address_in_use_is_an_error_that_names_it(server: RpcServer, cluster: MemoryCluster) -> None:
    for address in server.addresses:
        with pytest.raises(ListenError) as caught:
            await RpcServer(cluster, [address]).start()
        assert str(caught.value).startswith(f"listen on {address}: ")


async def test_a_server_that_cannot_have_one_address_listens_on_none(
    server: RpcServer, cluster: MemoryCluster, tmp_path: Path
) -> None:
    other = tmp_path / "other.sock"
    with pytest.raises(ListenError):
        await RpcServer(cluster, [f"unix:{other}", server.addresses[1]]).start()
    with FleetClient(f"unix:{other}") as client, pytest.raises(UnreachableError, match="no lbnode answers"):
        await asyncio.to_thread(client.status)


async def test_an_address_that_others_can_reach_is_refused(cluster: MemoryCluster) -> None:
    with pytest.raises(ListenError, match="without TLS"):
        await RpcServer(cluster, ["0.0.0.0:0"]).start()


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_health_follows_readiness(server: RpcServer, channel: grpc.aio.Channel, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == NOT_SERVING
    await server.set_ready(True)
    assert (await stub.Check(request)).status == SERVING
    await server.set_ready(False)
    assert (await stub.Check(request)).status == NOT_SERVING


async def test_a_health_watcher_hears_of_every_change_and_of_the_end(
    server: RpcServer, channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == NOT_SERVING
    await server.set_ready(True)
    assert (await watch.read()).status == SERVING
    stopping = asyncio.create_task(server.stop(2))
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()
    await stopping


async def test_reflection_lists_the_services_and_describes_them(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def ask(question: Question) -> Answer:
        answers: AsyncIterator[Answer] = stub.ServerReflectionInfo(iter([question]))
        async for answer in answers:
            return answer
        raise AssertionError("no answer")

    listed = (await ask(Question(list_services=""))).list_services_response.service
    names = sorted(service.name for service in listed)
    assert names == [*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    described = await ask(Question(file_containing_symbol="evenkeel.v1.Status"))
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert file.package == "evenkeel.v1"
    assert [method.name for method in file.service[0].method] == ["GetStatus", "GetTraffic", "Explain"]


async def test_a_refusal_has_a_status_code_with_reason_and_remedy(channel: grpc.aio.Channel) -> None:
    stub = control_pb2_grpc.ControlStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DrainBackend(control_pb2.DrainBackendRequest(name="b33"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no backend is called 'b33'\ndid you mean 'b3'?"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RemoveBackend(control_pb2.RemoveBackendRequest(name="b3"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_malformed_message_is_invalid_and_names_the_field(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status_pb2_grpc.StatusStub(channel).Explain(status_pb2.ExplainRequest(source="x"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "source: 'x' is not an IP address\n"


async def test_a_bad_fleet_is_refused_with_every_problem_even_if_there_are_thousands(
    server: RpcServer, cluster: MemoryCluster
) -> None:
    text = "fleet: demo\nbackends:\n" + "  - {name: b1, address: x}\n" * 3000
    before = cluster.view
    with FleetClient(server.addresses[0]) as client, pytest.raises(RefusedError) as caught:
        await asyncio.to_thread(client.apply, text)
    assert caught.value.invalid
    assert caught.value.reason.startswith("fleet.yaml:3: backends[0].address: 'x' is not an IP address")
    assert caught.value.reason.splitlines()[-1].startswith("… and ")
    assert "lbctl config check" in caught.value.remedy
    assert cluster.view == before


async def test_an_apply_that_was_overtaken_is_refused(server: RpcServer, cluster: MemoryCluster) -> None:
    with FleetClient(server.addresses[0]) as client:
        wanted = write_fleet(fleet("b1", "b2"))
        preview = await asyncio.to_thread(client.apply, wanted, dry_run=True)
        assert not preview.applied
        await asyncio.to_thread(client.apply, write_fleet(fleet("b1", "b2", "b3", "b4")))
        with pytest.raises(RefusedError, match="somebody else changed the fleet"):
            await asyncio.to_thread(client.apply, wanted, based_on=preview.version)
    assert cluster.view.desired == fleet("b1", "b2", "b3", "b4")


async def test_verbs_and_questions_go_through(server: RpcServer, cluster: MemoryCluster) -> None:
    question = FlowQuestion(fleet("b1").backends[0].addresses[0], 40000, VIP, 80, Protocol.TCP)
    with FleetClient(server.addresses[1]) as client:
        before = await asyncio.to_thread(client.explain, question)
        assert before == await cluster.explain(question)
        assert before.owner is not None
        await asyncio.to_thread(client.drain_backend, DrainBackend(before.owner.name))
        after = await asyncio.to_thread(client.explain, question)
    assert (after.epoch, after.home) == (before.epoch + 1, before.home)
    assert after.owner != before.owner
    assert cluster.view.intents.drained_backends == {PoolName("web"): (BackendName(before.owner.name),)}


async def test_a_node_that_does_not_answer_in_time_is_out_of_reach(
    server: RpcServer, cluster: MemoryCluster
) -> None:
    cluster.held_up = True
    words = r"no answer from unix:.* within 0\.2 s"
    client = FleetClient(server.addresses[0], deadline_s=0.2)
    with client, pytest.raises(UnreachableError, match=words):
        await asyncio.to_thread(client.status)


async def test_a_bug_in_the_node_is_told_as_one_and_the_server_goes_on(
    server: RpcServer, cluster: MemoryCluster
) -> None:
    view, cluster.view = cluster.view, None  # type: ignore[assignment]
    with FleetClient(server.addresses[0]) as client:
        with pytest.raises(RefusedError, match="journalctl -u lbnode"):
            await asyncio.to_thread(client.status)
        cluster.view = view
        assert (await asyncio.to_thread(client.status)).fleet == "demo"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1"])
def test_a_port_where_nobody_listens_is_said_with_the_remedy(address: str) -> None:
    words = re.escape(f"no lbnode answers at {address}: is it running? systemctl status lbnode")
    with FleetClient(address, deadline_s=5) as client, pytest.raises(UnreachableError, match=words):
        client.status()
