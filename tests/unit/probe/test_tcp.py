from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from ipaddress import ip_address

from lbnode.model.fleet import HealthCheck
from lbnode.model.ids import BackendName, PoolName
from lbnode.probe.tcp import Key, Target, TcpProber, connect

HERE = ip_address("127.0.0.1")
KEY: Key = (PoolName("web"), BackendName("b1"))


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, asyncio.Queue[bytes]]]:
    """A server that puts what each connection said, up to its end, into the queue."""
    ends: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ends.put_nowait(await reader.read())
        except ConnectionResetError:
            ends.put_nowait(b"reset")
        writer.close()

    server = await asyncio.start_server(serve, str(HERE), 0)
    async with server:
        yield server.sockets[0].getsockname()[1], ends


def check(port: int, timeout_s: float = 1.0, interval_s: float = 0.01) -> HealthCheck:
    return HealthCheck(port=port, interval_s=interval_s, timeout_s=timeout_s)


async def test_a_backend_that_listens_is_well_and_sees_a_reset_instead_of_a_lingering_connection() -> None:
    async with listener() as (port, ends):
        assert await connect(Target(HERE, check(port))) == ""
        assert await asyncio.wait_for(ends.get(), 5) == b"reset"


async def test_a_port_where_nobody_listens_is_refused_by_name() -> None:
    with closing(socket.create_server((str(HERE), 0))) as gone:
        port = gone.getsockname()[1]
    assert await connect(Target(HERE, check(port))) == "Connection refused"


async def test_a_backend_that_does_not_answer_fails_after_its_timeout() -> None:
    with closing(socket.create_server((str(HERE), 0), backlog=0)) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(3)]
        try:
            for each in crowd:
                each.setblocking(False)
                each.connect_ex((str(HERE), port))
            assert await connect(Target(HERE, check(port, timeout_s=0.1))) == "no answer within 0.1 s"
        finally:
            for each in crowd:
                each.close()


async def test_the_prober_reports_again_and_again_until_the_target_is_taken_away() -> None:
    results: asyncio.Queue[bool] = asyncio.Queue()
    prober = TcpProber(lambda pool, backend, success, reason: results.put_nowait(success))
    async with listener() as (port, _):
        prober.set_targets({KEY: Target(HERE, check(port))})
        assert [await asyncio.wait_for(results.get(), 5) for _ in range(3)] == [True, True, True]
        prober.set_targets({})
        await asyncio.sleep(0)
        while not results.empty():
            results.get_nowait()
        await asyncio.sleep(0.05)
        assert results.empty()
    await prober.close()


async def test_a_target_that_stays_the_same_keeps_its_task() -> None:
    async with listener() as (port, _):
        prober = TcpProber(lambda *_: None)
        prober.set_targets({KEY: Target(HERE, check(port))})
        task = prober._tasks[KEY][1]
        prober.set_targets({KEY: Target(HERE, check(port))})
        assert prober._tasks[KEY][1] is task
        prober.set_targets({KEY: Target(HERE, check(port, timeout_s=2.0))})
        assert prober._tasks[KEY][1] is not task
        await prober.close()
