"""The crowd against real servers on the loopback."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lbnode.lab.churn import crowd as crowds
from lbnode.lab.churn import life
from lbnode.lab.churn.crowd import Crowd, Order
from lbnode.lab.churn.flow import Outcome
from lbnode.lab.churn.life import FlowKind
from lbnode.lab.churn.serving import ChurnServer
from lbnode.lab.churn.wire import Verb, read_verb
from lbnode.lab.echo import Answer, Frames, pack_answer, unpack_request

FLOWS = 40
STALL_S = 0.4
LONGEST_S = 0.8
DEADLINE_S = 10.0
ANY_PORT = [0] * FLOWS


@pytest.fixture(autouse=True)
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "SHORTEST_S", 0.2)
    monkeypatch.setattr(crowds, "SWEEP_S", 0.05)


@asynccontextmanager
async def begun(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[Crowd]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    crowd = Crowd()
    async with server:
        port = server.sockets[0].getsockname()[1]
        crowd.begin(Order(FLOWS, 1, "127.0.0.1", ANY_PORT, "127.0.0.1", port, STALL_S, LONGEST_S))
        try:
            yield crowd
        finally:
            crowd.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)


def outcomes(crowd: Crowd) -> set[Outcome]:
    return {ended.outcome for ended in crowd.ended}


async def test_flows_of_every_kind_end_whole_and_are_replaced() -> None:
    async with begun(lambda: ChurnServer("b1")) as crowd:
        await until(lambda: len(crowd.ended) > 4 * FLOWS)
        assert crowd.look().servers == {"b1": crowd.look().alive}
        crowd.finish()
        await until(lambda: len(crowd.ended) == crowd.look().opened)

    assert outcomes(crowd) == {Outcome.WHOLE}
    assert set(Counter(ended.kind for ended in crowd.ended)) == set(FlowKind)
    assert all(ended.server == "b1" and ended.exchanges for ended in crowd.ended)


async def test_the_flows_of_a_server_are_known_by_its_name() -> None:
    async with begun(lambda: ChurnServer("b1")) as crowd:
        await until(lambda: crowd.look().alive == FLOWS)

        assert len(crowd.named("b1")) == FLOWS
        assert crowd.named("b2") == []


class Scripted(asyncio.Protocol):
    """Answers ECHO with what `forge` makes of the right answer; None: says nothing."""

    def __init__(self, forge: Callable[[Answer], Answer | None]) -> None:
        self._forge = forge
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            asked = unpack_request(body)
            verb, rest = read_verb(asked.payload)
            answer = self._forge(Answer(asked.flow, asked.number, "b1", rest)) if verb is Verb.ECHO else None
            if answer is not None:
                self._transport.write(pack_answer(answer))


def flip_a_bit(answer: Answer) -> Answer:
    return Answer(answer.flow, answer.number, "b1", bytes([answer.payload[0] ^ 1]) + answer.payload[1:])


def change_server(answer: Answer) -> Answer:
    return Answer(answer.flow, answer.number, "b1" if answer.number == 0 else "b2", answer.payload)


def be_silent(_answer: Answer) -> None:
    return None


@pytest.mark.parametrize(
    ("forge", "outcome"),
    [
        (flip_a_bit, Outcome.WRONG_BYTES),
        (change_server, Outcome.OTHER_SERVER),
        (be_silent, Outcome.STALLED),
    ],
)
async def test_forged_and_missing_answers_break_flows(
    forge: Callable[[Answer], Answer | None], outcome: Outcome
) -> None:
    async with begun(lambda: Scripted(forge)) as crowd:
        await until(lambda: outcome in outcomes(crowd))

    assert Outcome.WHOLE not in outcomes(crowd)


class Deserter(ChurnServer):
    """Answers the greeting, then ends the connection: rudely, or in good order."""

    rude = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        transport = self._transport
        assert transport is not None
        if self.rude:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
        transport.close()


class PoliteDeserter(Deserter):
    """Ends the connection in good order, but too early."""

    rude = False


async def test_connections_that_end_early_are_broken() -> None:
    async with begun(lambda: PoliteDeserter("b1")) as crowd:
        await until(lambda: len(crowd.ended) > FLOWS)

    assert Outcome.CLOSED in outcomes(crowd)
    assert Outcome.WHOLE not in outcomes(crowd)


async def test_resets_break_flows() -> None:
    async with begun(lambda: Deserter("b1")) as crowd:
        await until(lambda: Outcome.RESET in outcomes(crowd))

    assert Outcome.WHOLE not in outcomes(crowd)


async def test_a_flow_that_cannot_be_opened_has_ended_broken() -> None:
    crowd = Crowd()
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        crowd.begin(Order(1, 1, "127.0.0.1", [0], "127.0.0.1", unheard.getsockname()[1], STALL_S, LONGEST_S))
        await until(lambda: bool(crowd.ended))
        crowd.close()

    assert outcomes(crowd) == {Outcome.NOT_OPENED}
