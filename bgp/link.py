"""The daemon's connection to the relay of an ExaBGP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from bgp.errors import MessageError
from bgp.messages import Desired, Greeting, RelayState, decode_greeting, decode_state, encode_desired
from bgp.process import Process

GREET_S = 2.0
POLL_S = 0.05
LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in a line of the relay, at most: room for half a million routes."""


class Link:
    """An open connection; `greeting` is what the relay said of itself, `state` what it knew then."""

    def __init__(
        self,
        greeting: Greeting,
        state: RelayState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.greeting = greeting
        self.state = state
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, socket: Path) -> Self | None:
        """Connect and hear the greeting and the first state; None if nobody answers in time and makes
        sense.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_LIMIT)
        except OSError:
            return None
        try:
            async with asyncio.timeout(GREET_S):
                greeting = decode_greeting(await reader.readline())
                state = decode_state(await reader.readline())
        except (OSError, TimeoutError, MessageError):
            writer.close()
            return None
        return cls(greeting, state, reader, writer)

    @classmethod
    async def await_greeting(cls, socket: Path, process: Process, patience_s: float) -> Self | None:
        """Open a connection to the relay of `process` as soon as it greets; None if it ends or takes
        longer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline:
            link = await cls.open(socket)
            if link is not None and link.greeting.exabgp_pid == process.pid:
                return link
            if link is not None:
                link.close()
            if await process.ended(POLL_S):
                return None
        return None

    def send(self, desired: Desired) -> None:
        """Hand a whole set over. A connection that has ended shows in `states`, not here."""
        self._writer.write(encode_desired(desired))

    async def states(self) -> AsyncIterator[RelayState]:
        """Yield what the relay says from then on, until the connection ends. Raises MessageError for a
        line that makes no sense.
        """
        try:
            async for line in self._reader:
                yield decode_state(line)
        except OSError:
            return

    def close(self) -> None:
        """End the connection: the relay counts from now how long nobody is there."""
        self._writer.close()
