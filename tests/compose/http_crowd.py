"""So many HTTP connections always alive, each replaced when it ends: `python -m tests.compose.http_crowd VIP PORT N`.

It runs in a client's network namespace and obeys lines on its standard input, each answered by one line of JSON:

    look      the fields of Look
    finish    the same, when every connection has answered once more, and has ended with that
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from tests.compose.http_flow import HttpFlow, Outcome

LIFE_S = (2.0, 20.0)
OPEN_S = 15.0
STALL_S = 15.0
SWEEP_S = 0.5
OPENING_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Look:
    """The connections now: how many are alive (`least`: the fewest since all were open), and how others ended."""

    alive: int
    least: int
    whole: int
    broken: dict[str, int]
    longest_wait_s: float
    servers: dict[str, int]


class HttpCrowd:
    """Keeps `flows` connections to `target` alive until it is told to finish."""

    def __init__(self, target: tuple[str, int], flows: int) -> None:
        self._target = target
        self._wanted = flows
        self._alive: set[HttpFlow] = set()
        self._outcomes: Counter[Outcome] = Counter()
        self._least: int | None = None
        self._longest_wait_s = 0.0
        self._finishing = False
        self._gate = asyncio.Semaphore(OPENING_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Open the first connections."""
        for _ in range(self._wanted):
            self._task(self._open())
        self._task(self._sweep())

    def look(self) -> Look:
        """Return how the connections are now."""
        served = Counter(flow.server for flow in self._alive if flow.server)
        return Look(
            alive=served.total(),
            least=self._least or 0,
            whole=self._outcomes[Outcome.WHOLE],
            broken={str(how): count for how, count in self._outcomes.items() if how is not Outcome.WHOLE},
            longest_wait_s=self._longest_wait_s,
            servers=dict(served),
        )

    async def finish(self) -> None:
        """Open no more, and ask all that are alive once more: what is broken by now shows itself, or stalls."""
        self._finishing = True
        for flow in list(self._alive):
            flow.hurry()
        while self._alive:
            await asyncio.sleep(0.1)

    def _task(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        flow = HttpFlow(random.uniform(*LIFE_S), self._ended)
        self._alive.add(flow)
        async with self._gate:
            try:
                async with asyncio.timeout(OPEN_S):
                    await asyncio.get_running_loop().create_connection(lambda: flow, *self._target)
            except (OSError, TimeoutError):
                flow.end(Outcome.NOT_OPENED)

    def _ended(self, flow: HttpFlow, outcome: Outcome) -> None:
        self._alive.discard(flow)
        self._outcomes[outcome] += 1
        self._longest_wait_s = max(self._longest_wait_s, flow.longest_wait_s)
        if not self._finishing:
            self._task(self._open())

    async def _sweep(self) -> None:
        """Give up those that wait too long, and keep count of the fewest that were alive."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for flow in list(self._alive):
                if flow.wait_s(now) > STALL_S:
                    flow.end(Outcome.STALLED)
            served = sum(bool(flow.server) for flow in self._alive)
            if self._least is not None or served >= self._wanted * 0.95:
                self._least = served if self._least is None or self._finishing else min(self._least, served)


async def _serve(target: tuple[str, int], flows: int) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    crowd = HttpCrowd(target, flows)
    crowd.begin()
    while line := await lines.readline():
        if line.strip() == b"finish":
            least = crowd.look().least
            await crowd.finish()
            print(json.dumps({**asdict(crowd.look()), "least": least}), flush=True)
        else:
            print(json.dumps(asdict(crowd.look())), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve((sys.argv[1], int(sys.argv[2])), int(sys.argv[3])))
