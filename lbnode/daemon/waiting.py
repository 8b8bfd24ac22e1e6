"""Waiting for news, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Return when `event` is set, or so many seconds later; None: only then.

    A task that is cancelled in the very moment in which the event is set stays cancelled. With `asyncio.wait_for` it
    does not before Python 3.12 (gh-86296): it would go on, and whoever waits for its end would wait for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
