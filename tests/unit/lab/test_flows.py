"""The flow engine against real servers on the loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lbnode.lab.echo import Answer, Frames, pack_answer, unpack_request
from lbnode.lab.errors import LabError
from lbnode.lab.flows import FlowEngine
from lbnode.lab.server import EchoServer

RATE = 50.0
FLOWS = 20
ANY_PORT = [0] * FLOWS
DEADLINE_S = 5.0


@asynccontextmanager
async def opened(
    protocol: Callable[[], asyncio.Protocol],
) -> AsyncIterator[tuple[FlowEngine, asyncio.Server]]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    engine = FlowEngine()
    async with server:
        port = server.sockets[0].getsockname()[1]
        await engine.open("127.0.0.1", ANY_PORT, ("127.0.0.1", port), RATE)
        try:
            yield engine, server
        finally:
            engine.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.005)


async def test_flows_that_are_answered_stay_whole_and_know_their_server() -> None:
    async with opened(lambda: EchoServer("b1")) as (engine, _):
        began = time.monotonic()
        await until(lambda: engine.look(began).settled == FLOWS)

        look = engine.look(began)
        assert (look.flows, look.whole, look.servers) == (FLOWS, FLOWS, {"b1": FLOWS})
        assert engine.close_window(DEADLINE_S).broken == 0


class Deserter(EchoServer):
    """Answers twice, then resets the connection."""

    answered = 0

    def data_received(self, data: bytes) -> None:
        self.answered += 1
        if self.answered > 2:
            assert self._transport is not None
            self._transport.abort()
        else:
            super().data_received(data)


async def test_resets_break_flows() -> None:
    async with opened(lambda: Deserter("b1")) as (engine, _):
        await until(lambda: engine.look(0).whole == 0)

        assert engine.close_window(DEADLINE_S).reasons == {"reset": FLOWS}


class Silent(asyncio.Protocol):
    """Takes everything, answers nothing."""


async def test_silence_breaks_flows_once_it_lasts_longer_than_allowed() -> None:
    async with opened(Silent) as (engine, _):
        await until(lambda: engine.look(0).longest_wait_s > 0.1)
        await until(lambda: all(flow.history.wait_s(time.monotonic()) > 0.05 for flow in engine._flows))

        assert engine.close_window(0.05).reasons == {"stalled": FLOWS}


class Forger(asyncio.Protocol):
    """Answers each request with the bytes and the name that `forge` makes of it."""

    def __init__(self, forge: Callable[[Answer], Answer]) -> None:
        self._forge = forge
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            asked = unpack_request(body)
            answer = Answer(asked.flow, asked.number, "b1", asked.payload)
            self._transport.write(pack_answer(self._forge(answer)))


def change_server(answer: Answer) -> Answer:
    return Answer(answer.flow, answer.number, f"b{1 + answer.number // 2}", answer.payload)


def flip_a_bit(answer: Answer) -> Answer:
    return Answer(answer.flow, answer.number, "b1", bytes([answer.payload[0] ^ 1]) + answer.payload[1:])


@pytest.mark.parametrize(
    ("forge", "reason"),
    [(change_server, "answered by another server"), (flip_a_bit, "answered with other bytes")],
)
async def test_forged_answers_break_flows(forge: Callable[[Answer], Answer], reason: str) -> None:
    async with opened(lambda: Forger(forge)) as (engine, _):
        await until(lambda: engine.look(0).whole == 0)

        assert engine.close_window(DEADLINE_S).reasons == {reason: FLOWS}


class Gibberish(asyncio.Protocol):
    """Sends bytes that are no frame."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"\xff" * 8)


async def test_bytes_that_are_no_answer_break_flows() -> None:
    async with opened(Gibberish) as (engine, _):
        await until(lambda: engine.look(0).whole == 0)

        assert engine.close_window(DEADLINE_S).reasons == {"answered with other bytes": FLOWS}


async def test_a_flow_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(LabError, match=r"open flow 127\.0\.0\.1:0 to 127\.0\.0\.1:1: .*Connect call failed"):
        await FlowEngine().open("127.0.0.1", [0], ("127.0.0.1", 1), RATE)
