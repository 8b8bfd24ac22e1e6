"""A cable between a client and a server: a TCP relay that can be cut, by closing or without a word."""

from __future__ import annotations

import asyncio


class Cable:
    """Listens on the loopback and relays to `address`:`port` while it is whole."""

    def __init__(self, address: str, port: int) -> None:
        self._far = (address, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = asyncio.Event()
        self._plugged = True
        self._delay_s = 0.0
        self._swallowed = 0

    async def __aenter__(self) -> Cable:
        self._whole.set()
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pull()
        self._server.close()
        await self._server.wait_closed()

    @property
    def hosts(self) -> str:
        """Where a client finds this end."""
        address, port = self._server.sockets[0].getsockname()
        return f"{address}:{port}"

    def pull(self) -> None:
        """Close what is open and refuse what comes."""
        self._plugged = False
        self._whole.set()
        for writer in tuple(self._writers):
            writer.transport.abort()

    def jam(self) -> None:
        """Let nothing through, and say nothing."""
        self._whole.clear()

    def slow(self, delay_s: float) -> None:
        """Take so long over whatever comes, each way."""
        self._delay_s = delay_s

    def swallow(self, connections: int) -> None:
        """Take so many of those that come, and never say a word to them."""
        self._swallowed = connections

    def plug(self) -> None:
        """Be whole again."""
        self._plugged = True
        self._whole.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._plugged and self._swallowed:
                self._swallowed -= 1
                await reader.read(-1)
            elif self._plugged:
                far_reader, far_writer = await asyncio.open_connection(*self._far)
                self._writers.add(far_writer)
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._whole.wait()
                await asyncio.sleep(self._delay_s)
                sink.write(data)
                await sink.drain()
        finally:
            sink.transport.abort()
            self._writers.discard(sink)
