"""One HTTP connection of the drill: it asks again and again for as long as it lives, always the same server.

What a client of a web server would notice is broken: a connection that cannot be opened, that is reset or closed by the
other side, that waits too long, or that is suddenly answered by somebody else. Nothing is tried twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

PAUSE_S = 1.0
REQUEST = b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"


class Outcome(StrEnum):
    """How a connection ended; all but `WHOLE` are breaks."""

    WHOLE = "whole"
    NOT_OPENED = "could not be opened"
    LOST = "lost"
    STALLED = "stalled"
    OTHER_SERVER = "answered by another server"
    WRONG_ANSWER = "answered with something else"


class HttpFlow(asyncio.Protocol):
    """One connection that lives `life_s`. `on_end` is called once, with how it ended."""

    def __init__(self, life_s: float, on_end: Callable[[HttpFlow, Outcome], None]) -> None:
        self.server = ""
        self.longest_wait_s = 0.0
        self._life_s = life_s
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._asked_at: float | None = self._loop.time()
        self._ends_at = self._asked_at + life_s
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._ends_at = self._loop.time() + self._life_s
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(END_OF_HEAD)
        if not found:
            return
        length = _length(head)
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            self.end(Outcome.WRONG_ANSWER)
        elif len(body) >= length:
            self._buffer = b""
            self._take(body.decode(errors="replace").strip())

    def connection_lost(self, _error: Exception | None) -> None:
        self.end(Outcome.LOST)

    def wait_s(self, now: float) -> float:
        """Return how long the answer that is due has been waited for."""
        return 0.0 if self._asked_at is None else now - self._asked_at

    def hurry(self) -> None:
        """End with the answer that is due; where none is, ask once more now."""
        self._ends_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._ask()

    def end(self, outcome: Outcome) -> None:
        """End the connection, once."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self.longest_wait_s = max(self.longest_wait_s, self.wait_s(self._loop.time()))
        if self._transport is not None:
            self._transport.close() if outcome is Outcome.WHOLE else self._transport.abort()
        self._on_end(self, outcome)

    def _ask(self) -> None:
        assert self._transport is not None
        self._timer = None
        self._asked_at = self._loop.time()
        self._transport.write(REQUEST)

    def _take(self, server: str) -> None:
        now = self._loop.time()
        self.longest_wait_s = max(self.longest_wait_s, self.wait_s(now))
        self._asked_at = None
        if self.server not in ("", server):
            self.end(Outcome.OTHER_SERVER)
            return
        self.server = server
        if now >= self._ends_at:
            self.end(Outcome.WHOLE)
        else:
            self._timer = self._loop.call_later(min(PAUSE_S, self._ends_at - now), self._ask)


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None
