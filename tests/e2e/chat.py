"""Connections that talk without a pause, and tell who answers: what a client notices of changes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from lbnode.lab.echo import Frames, Request, pack_request, unpack_answer
from lbnode.lab.plan import DRILL_PORT, VIP
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.shell import call_inside
from lbnode.model.ids import IPAddress

PATIENCE_S = 5.0
SOON_S = 30.0


class Flow(Protocol):
    """Something that asks a server, from one address and port."""

    def ask(self) -> str:
        """Return the name of the server that answers; raises OSError when the flow is broken."""

    def close(self) -> None:
        """End it."""


class TcpFlow:
    """A connection to the drill's echo."""

    def __init__(self, number: int, vip: IPAddress = VIP) -> None:
        self._number, self._asked = number, 0
        self._vip = vip
        self._frames = Frames()
        self._socket = socket.create_connection((str(vip), DRILL_PORT), PATIENCE_S)

    def __str__(self) -> str:
        return f"TCP flow to {self._vip}"

    def ask(self) -> str:
        self._asked += 1
        self._socket.sendall(pack_request(Request(self._number, self._asked, b"x")))
        while not (bodies := self._frames.feed(self._receive())):
            pass
        return unpack_answer(bodies[0]).server

    def _receive(self) -> bytes:
        data = self._socket.recv(4096)
        if not data:
            raise ConnectionError("closed by the server")
        return data

    def close(self) -> None:
        self._socket.close()


class Chat:
    """Flows that all talk, one after the other, again and again. `homes`: who answered first; `moves`: who since."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._flows = flows
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.homes = [flow.ask() for flow in flows]
        self.moves: list[str] = []
        self.rounds = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        for flow in self._flows:
            flow.close()

    def go_on(self) -> None:
        """Return after every flow has talked once more, from begin to end."""
        wanted = self.rounds + 2
        wait_until(lambda: self.rounds >= wanted, SOON_S, "all flows to talk once more")

    def _run(self) -> None:
        while not self._stopping.is_set():
            for flow, home in zip(self._flows, self.homes, strict=True):
                try:
                    server = flow.ask()
                except OSError as error:
                    server = str(error)
                if server != home:
                    self.moves.append(f"{flow} of {home}: {server}")
            self.rounds += 1
            self._stopping.wait(0.1)


@contextmanager
def chatting(lab: RunningLab, open_all: Callable[[], Sequence[Flow]]) -> Iterator[Chat]:
    """Open flows at the client, and let them talk as long as the context lasts."""
    chat = Chat(call_inside(lab.plan.namespace("client"), open_all))
    chat.start()
    try:
        yield chat
    finally:
        chat.stop()
