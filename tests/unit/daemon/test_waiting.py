from __future__ import annotations

import asyncio

import pytest

from lbnode.daemon.waiting import wait_at_most

LONG_S = 60.0


async def test_it_ends_with_the_event_or_with_the_time() -> None:
    event = asyncio.Event()
    await wait_at_most(event, 0.01)
    assert not event.is_set()
    event.set()
    async with asyncio.timeout(LONG_S / 10):
        await wait_at_most(event, LONG_S)
        await wait_at_most(event, None)


async def test_who_is_cancelled_while_the_event_is_set_stays_cancelled() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_at_most(event, LONG_S))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
