"""The daemon's connection to the relay of an ExaBGP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from bgp.errors import MessageError
from bgp.messages import Desired, Greeting, RelayState, decode_greeting, decode_state, encode_desired

GREET_S = 2.0
LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in a line of the relay, at most: room for half a million routes."""


class Link:
    """An open connection; `greeting` is what the relay said of itself."""

    def __init__(
        self, greeting: Greeting, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.greeting = greeting
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, socket: Path) -> Self | None:
        """Connect and hear the greeting; None if nobody listens, answers in time or makes sense."""
        try:
            reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_LIMIT)
        except OSError:
            return None
        try:
            line = await asyncio.wait_for(reader.readline(), GREET_S)
            return cls(decode_greeting(line), reader, writer)
        except (OSError, TimeoutError, MessageError):
            writer.close()
            return None

    def send(self, desired: Desired) -> None:
        """Hand a whole set over. A connection that has ended shows in `states`, not here."""
        self._writer.write(encode_desired(desired))

    async def states(self) -> AsyncIterator[RelayState]:
        """Yield what the relay says until the connection ends. Raises MessageError for a line that makes
        no sense.
        """
        try:
            async for line in self._reader:
                yield decode_state(line)
        except OSError:
            return

    def close(self) -> None:
        """End the connection: the relay counts from now how long nobody is there."""
        self._writer.close()
