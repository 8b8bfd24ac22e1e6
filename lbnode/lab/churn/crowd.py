"""The clients of the churn drill: so many connections always alive, each replaced when it ends.

It runs in a client's namespace (`python -m lbnode.lab.churn.crowd`) and obeys lines of JSON on its standard
input, each answered by one line (`crowd_process` is the other side):

    {"do": "begin", …the fields of Order}    →  {}
    {"do": "look"}                           →  the fields of Look
    {"do": "named", "server": "b2"}          →  {"flows": the numbers of the flows that b2 answers}
    {"do": "finish"}                         →  {}        no new flows; those alive have their last exchange
    {"do": "ended", "after": n}              →  {"ended": [the fields of Ended, …]}, all but the first n
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter, deque
from dataclasses import asdict, astuple, dataclass
from functools import partial
from typing import Any

from lbnode.lab.churn.flow import Ended, LivingFlow, Outcome
from lbnode.lab.churn.life import draw
from lbnode.lab.dialing import dial
from lbnode.lab.errors import LabError
from lbnode.lab.orders import allow_many_files, obey_orders

CONNECT_TIMEOUT_S = 15.0
OPENING_AT_ONCE = 50
SWEEP_S = 0.25
RETRY_S = 0.5
"""So long after a flow that could not be opened the next one tries in its stead."""


@dataclass(frozen=True, slots=True)
class Order:
    """How many flows, from which ports of `source`, to where. A stall of more than `stall_s` is a break.
    No flow lives longer than `longest_s`.

    Ports are used in their order, again and again: there must be several times as many as flows.
    """

    flows: int
    seed: int
    source: str
    ports: list[int]
    target: str
    port: int
    stall_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """The flows now. `alive` have a connection, `whole` and the counts of `broken` have ended."""

    alive: int
    opened: int
    whole: int
    broken: dict[str, int]
    longest_wait_s: float
    servers: dict[str, int]
    cpu_s: float


class Crowd:
    """All connections of a drill."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self._alive: dict[int, LivingFlow] = {}
        self._ports: deque[int] = deque()
        self._order: Order | None = None
        self._opened = 0
        self._finishing = False
        self._gate = asyncio.Semaphore(OPENING_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, order: Order) -> None:
        """Open the first flows, and from now on one for each that ends."""
        self._order = order
        self._ports.extend(order.ports)
        for _ in range(order.flows):
            self._spawn(0.0)
        self._task(self._sweep())

    def look(self) -> Look:
        """Return how the flows are now."""
        now = time.monotonic()
        outcomes = Counter(ended.outcome for ended in self.ended)
        whole = outcomes.pop(Outcome.WHOLE, 0)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Look(
            alive=sum(bool(flow.server) for flow in self._alive.values()),
            opened=self._opened,
            whole=whole,
            broken={str(outcome): count for outcome, count in outcomes.items()},
            longest_wait_s=max((flow.wait_s(now) for flow in self._alive.values()), default=0.0),
            servers=dict(Counter(flow.server for flow in self._alive.values() if flow.server)),
            cpu_s=usage.ru_utime + usage.ru_stime,
        )

    def named(self, server: str) -> list[int]:
        """Return the numbers of the living flows that `server` answers."""
        return [number for number, flow in self._alive.items() if flow.server == server]

    def finish(self) -> None:
        """Open no more flows, and let those that are alive have their last exchange."""
        self._finishing = True
        for flow in list(self._alive.values()):
            flow.finish()

    def close(self) -> None:
        """End everything at once."""
        self._finishing = True
        for task in self._tasks:
            task.cancel()
        for flow in self._alive.values():
            flow.abort()

    def _spawn(self, after_s: float) -> None:
        if not self._finishing:
            self._task(self._open(after_s))

    def _task(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, after_s: float) -> None:
        """Open the next flow of the drill; one that cannot be opened has ended, broken."""
        await asyncio.sleep(after_s)
        async with self._gate:
            assert self._order is not None
            order, number = self._order, self._opened
            self._opened += 1
            life = draw(order.seed, number, order.longest_s)
            flow = LivingFlow(number, self._ports.popleft(), life, self._ended)
            self._alive[number] = flow
            try:
                await dial(flow, (order.source, flow.port), (order.target, order.port), CONNECT_TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                flow.give_up(Outcome.NOT_OPENED, str(error) or f"no answer in {CONNECT_TIMEOUT_S:g} s")

    def _ended(self, flow: LivingFlow, ended: Ended) -> None:
        self.ended.append(ended)
        del self._alive[flow.number]
        self._ports.append(flow.port)
        self._spawn(RETRY_S if ended.outcome is Outcome.NOT_OPENED else 0.0)

    async def _sweep(self) -> None:
        """Again and again, give up the flows that have waited too long."""
        assert self._order is not None
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for flow in list(self._alive.values()):
                if flow.wait_s(now) > self._order.stall_s:
                    flow.give_up(Outcome.STALLED)


async def _obey(crowd: Crowd, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one line of the control protocol."""
    verb = command.pop("do")
    match verb:
        case "begin":
            crowd.begin(Order(**command))
            return {}
        case "look":
            return asdict(crowd.look())
        case "named":
            return {"flows": crowd.named(command["server"])}
        case "finish":
            crowd.finish()
            return {}
        case "ended":
            return {"ended": [astuple(ended) for ended in crowd.ended[command["after"] :]]}
        case other:
            raise LabError(f"crowd: no command {other!r}")


async def _serve() -> None:
    """Obey orders until there are none any more."""
    crowd = Crowd()
    try:
        await obey_orders(partial(_obey, crowd))
    finally:
        crowd.close()


def main() -> None:
    """Run the crowd."""
    allow_many_files()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
