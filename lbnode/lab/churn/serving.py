"""The servers' side of the churn drill: one protocol object a connection."""

from __future__ import annotations

import asyncio

from lbnode.lab.churn.wire import Sending, Verb, content, digest, read_verb
from lbnode.lab.echo import Answer, EchoError, Frames, Request, pack_answer, unpack_request


class ChurnServer(asyncio.Protocol):
    """Answers ECHO, TAKE and SEND with the server's name; a client that has said all may still be sent to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sending = False
        self._client_is_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            for body in self._frames.feed(data):
                self._obey(unpack_request(body))
        except EchoError:
            self._transport.abort()

    def eof_received(self) -> bool:
        """The client has half-closed: go on while a download runs."""
        self._client_is_done = True
        return self._sending

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _obey(self, request: Request) -> None:
        verb, data = read_verb(request.payload)
        match verb:
            case Verb.ECHO:
                self._answer(request.flow, request.number, data)
            case Verb.TAKE:
                self._answer(request.flow, request.number, digest(data))
            case Verb.SEND:
                self._sending = True
                self._send(request.flow, request.number, Sending.unpack(data))

    def _send(self, flow: int, number: int, left: Sending) -> None:
        """Send the next answer of a download; `left` is what is still to be sent."""
        if left.count == 0:
            self._sending = False
            if self._client_is_done and self._transport is not None:
                self._transport.close()
            return
        self._answer(flow, number, content(flow, number, left.size))
        rest = Sending(left.count - 1, left.size, left.interval_s)
        self._timer = asyncio.get_running_loop().call_later(
            left.interval_s, self._send, flow, number + 1, rest
        )

    def _answer(self, flow: int, number: int, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(pack_answer(Answer(flow, number, self._name, payload)))
