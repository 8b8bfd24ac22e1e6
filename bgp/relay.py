"""The script that ExaBGP runs: it passes the daemon's desired set on, and outlives the daemon for a while.

`python -m bgp.relay FILE`, where FILE is what `describe` returned. Standard output carries commands to
ExaBGP, standard input its answers and events; the daemon connects to a unix socket. All decisions are
`bgp.session`'s; this module moves bytes. It ends when ExaBGP closes standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bgp.config import Neighbor
from bgp.errors import MessageError
from bgp.messages import PROTOCOL, Greeting, decode_desired, encode_greeting, encode_state, parse_exabgp
from bgp.session import Command, DaemonConnected, DaemonLost, Event, Exit, Send, Session, Tell, Ticked

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in a line from the daemon, at most: room for half a million routes."""


def describe(socket: Path, mark: str, adopt_s: float, neighbors: Sequence[Neighbor]) -> str:
    """Return the text of the relay's file: where it listens, how long it waits for a daemon, which routers
    there are.

    `mark` comes back in the greeting, so that a daemon knows which configuration it meets.
    """
    routers = [
        {
            "address": str(neighbor.address),
            "peer_as": neighbor.peer_as,
            "local_address": str(neighbor.local_address),
            "next_hop": None if neighbor.next_hop is None else str(neighbor.next_hop),
        }
        for neighbor in neighbors
    ]
    fields = {
        "protocol": PROTOCOL,
        "socket": str(socket),
        "mark": mark,
        "adopt_s": adopt_s,
        "neighbors": routers,
    }
    return json.dumps(fields, indent=2)


class Relay:
    """One session's bytes: ExaBGP's pipes, the daemon's connection and the timer of the deadline."""

    def __init__(self, session: Session, greeting: Greeting, exabgp: asyncio.StreamWriter) -> None:
        self.ended = asyncio.Event()
        self._session = session
        self._greeting = greeting
        self._exabgp = exabgp
        self._daemon: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._run(session.begin())

    async def listen_to_exabgp(self, reader: asyncio.StreamReader) -> None:
        """Feed ExaBGP's lines to the session until it closes the pipe."""
        async for line in reader:
            try:
                event = parse_exabgp(line)
            except MessageError as error:
                _complain(f"from exabgp: {error}")
                continue
            if event is not None:
                self._handle(event)
        self.ended.set()

    async def serve_daemon(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Feed one daemon's sets to the session; a newer connection takes the place of an older one."""
        if self._daemon is not None:
            self._daemon.close()
        self._daemon = writer
        writer.write(encode_greeting(self._greeting))
        self._handle(DaemonConnected())
        try:
            async for line in reader:
                if self._daemon is not writer:
                    break
                self._handle(decode_desired(line))
        except (MessageError, ValueError, ConnectionError) as error:
            _complain(f"from the daemon: {error}")
        finally:
            writer.close()
            if self._daemon is writer:
                self._daemon = None
                self._handle(DaemonLost())

    def _handle(self, event: Event) -> None:
        self._run(self._session.handle(event, self._now()))

    def _run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Send(line):
                    self._exabgp.write(line.encode() + b"\n")
                case Tell(state) if self._daemon is not None:
                    self._daemon.write(encode_state(state))
                case Exit():
                    self.ended.set()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._session.deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._session.deadline, self._handle, Ticked())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def run(description: dict[str, Any]) -> None:
    """Relay until ExaBGP ends."""
    reader, writer = await _exabgp_pipes()
    neighbors = [_neighbor(fields) for fields in description["neighbors"]]
    session = Session(neighbors, description["adopt_s"], asyncio.get_running_loop().time())
    relay = Relay(session, Greeting(os.getppid(), description["mark"]), writer)
    path = Path(description["socket"])
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(relay.serve_daemon, path, limit=LINE_LIMIT)
    listening = asyncio.create_task(relay.listen_to_exabgp(reader))
    await relay.ended.wait()
    listening.cancel()
    server.close()


async def _exabgp_pipes() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


def _neighbor(fields: dict[str, Any]) -> Neighbor:
    next_hop = fields["next_hop"]
    return Neighbor(
        address=ip_address(fields["address"]),
        peer_as=fields["peer_as"],
        local_address=ip_address(fields["local_address"]),
        next_hop=None if next_hop is None else ip_address(next_hop),
    )


def _complain(text: str) -> None:
    """Standard error ends in the speaker's log of ExaBGP."""
    print(f"relay: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the relay that the file named by the first argument describes."""
    os.umask(0o077)
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
