from __future__ import annotations

import asyncio

from lbnode.store.interest import Interest
from lbnode.store.leisure import Leisure

SOON = Interest(on_demand=("live",), at_leisure=("current",), leisure_s=0.001)


async def test_what_can_wait_is_asked_for_once_and_what_is_read_on_demand_only_when_somebody_asks() -> None:
    leisure, asked, done = Leisure(SOON), list[str](), asyncio.Event()

    def ask(path: str) -> None:
        asked.append(path)
        done.set()

    for path in ("live/nodes/n1", "current/web", "current/web"):
        assert leisure.has_time(path)
        leisure.leave(ask, path)
    async with asyncio.timeout(5):
        await done.wait()
    assert asked == ["current/web"]
    assert leisure.read()
    assert asked == ["current/web", "live/nodes/n1"]
    assert not leisure.read()


async def test_nothing_waits_for_who_is_in_a_hurry() -> None:
    leisure, asked = Leisure(SOON), list[str]()
    leisure.leave(asked.append, "live/nodes/n1")
    leisure.hurry(True)
    assert asked == ["live/nodes/n1"]
    assert not leisure.has_time("current/web")
    leisure.hurry(False)
    assert leisure.has_time("current/web")
