"""The flow engine: hundreds of TCP connections in one process, each one socket from beginning to end.

It runs in a client's namespace (`python -m lbnode.lab.flows`) and is told what to do by lines of JSON on its
standard input, each answered by one line (`flow_process` is the other side):

    {"do": "open", "source": A, "ports": [P, …], "target": A, "port": P, "rate": R}   →  {"flows": n}
    {"do": "look", "since": T}                                                        →  the fields of Look
    {"do": "window", "limit_s": S}                                                    →  the fields of Window

Nothing in here connects twice or asks twice: what the kernel's TCP cannot mend is broken.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from lbnode.lab.dialing import dial
from lbnode.lab.echo import EchoError, Frames, Request, pack_request, unpack_answer
from lbnode.lab.errors import LabError
from lbnode.lab.history import FlowHistory
from lbnode.lab.orders import allow_many_files, obey_orders

CONNECT_TIMEOUT_S = 10.0
CONNECTING_AT_ONCE = 50
PAYLOAD_BYTES = (16, 512)


@dataclass(frozen=True, slots=True)
class Look:
    """The flows now: how many there are, are whole, and were answered what they asked after a given time."""

    flows: int
    whole: int
    settled: int
    exchanges: int
    longest_wait_s: float
    servers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Window:
    """What all flows saw in one window. `reasons`: how the broken ones broke, and how many each way."""

    broken: int
    longest_stall_s: float
    reasons: dict[str, int]


class Flow(asyncio.Protocol):
    """One connection that asks, waits for the answer, pauses, and asks again, until it is closed."""

    def __init__(self, number: int, period_s: float) -> None:
        self.history = FlowHistory()
        self._number = number
        self._period_s = period_s
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._pause(random.uniform(0, self._period_s))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        try:
            for body in self._frames.feed(data):
                self.history.answer(unpack_answer(body), now)
        except EchoError:
            self.history.garbled()
        if self._timer is None and not self.history.broken:
            self._pause(self._period_s * random.uniform(0.8, 1.2))

    def connection_lost(self, _error: Exception | None) -> None:
        self._stop_timer()
        if not self._closing:
            self.history.lose(time.monotonic())

    def close(self) -> None:
        """End the connection from this side: no break."""
        self._closing = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ask)

    def _ask(self) -> None:
        assert self._transport is not None
        self._timer = None
        request = Request(self._number, self.history.exchanges, os.urandom(random.randint(*PAYLOAD_BYTES)))
        self.history.ask(request, time.monotonic())
        self._transport.write(pack_request(request))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class FlowEngine:
    """All flows of a drill."""

    def __init__(self) -> None:
        self._flows: list[Flow] = []

    async def open(self, source: str, ports: Sequence[int], target: tuple[str, int], rate: float) -> int:
        """Open one flow from each port of `source`, each with about `rate` exchanges a second; return how
        many.

        Raises LabError, naming the flow, when one cannot be opened; the others are closed then.
        """
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self._flows = [Flow(number, 1 / rate) for number in range(len(ports))]

        async def connect(flow: Flow, port: int) -> None:
            async with gate:
                await _connect(flow, (source, port), target)

        try:
            async with asyncio.TaskGroup() as group:
                for flow, port in zip(self._flows, ports, strict=True):
                    group.create_task(connect(flow, port))
        except ExceptionGroup as errors:
            self.close()
            raise errors.exceptions[0] from None
        return len(self._flows)

    def look(self, since: float) -> Look:
        """Return how the flows are now; `since` is a time of the monotonic clock."""
        now = time.monotonic()
        histories = [flow.history for flow in self._flows]
        whole = [history for history in histories if not history.broken]
        return Look(
            flows=len(histories),
            whole=len(whole),
            settled=sum(history.answered_since >= since for history in whole),
            exchanges=sum(history.exchanges for history in histories),
            longest_wait_s=max((history.wait_s(now) for history in whole), default=0.0),
            servers=dict(Counter(history.server for history in histories if history.server)),
        )

    def close_window(self, limit_s: float) -> Window:
        """End the present window, in which stalls of up to `limit_s` were allowed, and begin the next."""
        now = time.monotonic()
        seen = [flow.history.close_window(now, limit_s) for flow in self._flows]
        reasons = Counter(window.broke.value for window in seen if window.broke)
        longest_s = max((window.longest_stall_s for window in seen), default=0.0)
        return Window(reasons.total(), longest_s, dict(reasons))

    def close(self) -> None:
        """End all flows from this side."""
        for flow in self._flows:
            flow.close()


async def _connect(flow: Flow, source: tuple[str, int], target: tuple[str, int]) -> None:
    try:
        await dial(flow, source, target, CONNECT_TIMEOUT_S, reset_on_close=True)
    except (OSError, TimeoutError) as error:
        why = str(error) or f"no answer in {CONNECT_TIMEOUT_S:g} s"
        raise LabError(f"open flow {source[0]}:{source[1]} to {target[0]}:{target[1]}: {why}") from error


async def _obey(engine: FlowEngine, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one line of the control protocol."""
    match command["do"]:
        case "open":
            target = (command["target"], command["port"])
            return {"flows": await engine.open(command["source"], command["ports"], target, command["rate"])}
        case "look":
            return asdict(engine.look(command["since"]))
        case "window":
            return asdict(engine.close_window(command["limit_s"]))
        case other:
            raise LabError(f"flow engine: no command {other!r}")


async def _serve() -> None:
    """Obey orders until there are none any more."""
    engine = FlowEngine()
    try:
        await obey_orders(partial(_obey, engine))
    finally:
        engine.close()


def main() -> None:
    """Run the engine."""
    allow_many_files()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
