from __future__ import annotations

import asyncio

from lbnode.backend.plan import HostState
from lbnode.backend.watch import Watch
from lbnode.model.flows import FlowReport
from tests.unit.backend.fleets import B1, ID1, epoch, view

PATIENCE_S = 5.0


async def answer(_report: FlowReport) -> None:
    raise AssertionError("nobody asked")


async def test_it_ends_when_closed_in_the_moment_in_which_there_is_news() -> None:
    watch = Watch(B1, True, (), answer, lambda: None)
    watch.start()
    for _ in range(20):
        await asyncio.sleep(0)
    watch.look(view(epoch(1, ID1)), HostState(self_id=ID1), {})
    async with asyncio.timeout(PATIENCE_S):
        await watch.close()
