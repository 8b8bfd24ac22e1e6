"""One connection of the churn drill: one socket from its greeting to its last exchange.

    greeting ──► what its kind does ──► last exchange ──► whole
        └───────────────┴─────────────────────┴──► broken, once, for one reason

The greeting tells who the server is; every later answer must come from the same one, with exactly the bytes
that were to come. A half-closed flow cannot ask at the end: the server's last bytes and its FIN are its
last exchange.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lbnode.lab.churn.life import FlowKind, Life
from lbnode.lab.churn.wire import Sending, Verb, ask, content, digest
from lbnode.lab.echo import Answer, EchoError, Frames, Request, pack_request, unpack_answer

LAST = 0xFFFFFFFF
"""The number of the last question: also in the middle of a download nobody can mistake its answer."""
LAST_BYTES = 64
CHAT_BYTES = (16, 512)
CHAT_PAUSE_S = 0.5
UPLOAD_BYTES = 14_320
"""Ten full segments (MSS 1432: an MTU of 1500 less the tunnel's 28 and headers)."""
UPLOAD_PAUSE_S = 1.0
DOWNLOAD_BYTES = 8_000
DOWNLOAD_PAUSE_S = 0.5


class Outcome(StrEnum):
    """How a flow ended; all but `WHOLE` are breaks."""

    WHOLE = "whole"
    RESET = "reset"
    CLOSED = "closed by the other side"
    STALLED = "stalled"
    OTHER_SERVER = "answered by another server"
    WRONG_BYTES = "answered with other bytes"
    NOT_OPENED = "could not be opened"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a flow. Times are of the monotonic clock.

    `asked_at` is when the question went out that was still open at the end (0: none was).
    `note`: what the system said, where it said something.
    """

    number: int
    kind: FlowKind
    port: int
    server: str
    opened_at: float
    ended_at: float
    asked_at: float
    longest_wait_s: float
    exchanges: int
    note: str
    outcome: Outcome


class LivingFlow(asyncio.Protocol):
    """One connection. `on_end` is called once, with what became of it."""

    def __init__(
        self, number: int, port: int, life: Life, on_end: Callable[[LivingFlow, Ended], None]
    ) -> None:
        self.number = number
        self.port = port
        self.server = ""
        self.kind = life.kind
        self.ended = False
        self._life_s = life.life_s
        self._on_end = on_end
        self._opened_at = self._ends_at = time.monotonic()
        self._frames = Frames()
        self._due: Answer | None = None
        self._due_since = 0.0
        self._asked_at = 0.0
        self._left = 0
        self._longest_wait_s = 0.0
        self._exchanges = 0
        self._is_last = False
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._ends_at = self._opened_at + self._life_s
        self._ask(Verb.ECHO, os.urandom(LAST_BYTES))

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                if not self.ended:
                    self._take(unpack_answer(body))
        except EchoError:
            self._end(Outcome.WRONG_BYTES)

    def eof_received(self) -> bool:
        expected = self.kind is FlowKind.HALF_CLOSED and self._is_last and self._due is None
        self._end(Outcome.WHOLE if expected else Outcome.CLOSED)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Outcome.CLOSED if error is None else Outcome.RESET)

    # -- what the crowd calls

    def wait_s(self, now: float) -> float:
        """How long the answer that is due has been waited for."""
        return max(0.0, now - self._due_since) if self._due is not None and not self.ended else 0.0

    def give_up(self, outcome: Outcome, note: str = "") -> None:
        """End the flow as broken: it waited too long, or could not be opened."""
        self._end(outcome, note)

    def finish(self) -> None:
        """Have the last exchange now; a half-closed flow cannot be hurried."""
        self._life_s = 0.0
        if not self._exchanges or self.kind is FlowKind.HALF_CLOSED or self.ended:
            return
        self._ends_at = min(self._ends_at, time.monotonic())
        if self._timer is not None or self.kind is FlowKind.DOWNLOAD:
            self._stop_timer()
            self._go_on()

    def abort(self) -> None:
        """Close without a word: the drill is over."""
        self.ended = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    # -- its life

    def _take(self, answer: Answer) -> None:
        """An answer has come: check it against the one that is due, and go on."""
        now = time.monotonic()
        if self._is_last and answer.number != LAST and self.kind is FlowKind.DOWNLOAD:
            self._check(answer, content(self.number, answer.number, DOWNLOAD_BYTES))
            return
        due = self._due
        if due is None or answer.number != due.number:
            self._end(Outcome.WRONG_BYTES)
            return
        self._longest_wait_s = max(self._longest_wait_s, now - self._due_since)
        self._due, self._asked_at = None, 0.0
        if self._check(answer, due.payload):
            self._exchanges += 1
            self._after(answer.number, now)

    def _check(self, answer: Answer, payload: bytes) -> bool:
        """Compare flow, bytes and server; the first answer says who the server is."""
        if (answer.flow, answer.payload) != (self.number, payload):
            self._end(Outcome.WRONG_BYTES)
        elif self.server not in ("", answer.server):
            self._end(Outcome.OTHER_SERVER)
        else:
            self.server = answer.server
        return not self.ended

    def _after(self, number: int, now: float) -> None:
        """An answer was right: what comes next."""
        if number == LAST:
            self._end(Outcome.WHOLE)
        elif self._left:
            self._left -= 1
            if self._left:
                self._expect(number + 1, now + DOWNLOAD_PAUSE_S)
            elif self.kind is FlowKind.HALF_CLOSED:
                self._is_last = True
            else:
                self._go_on()
        elif self._exchanges == 1 and self.kind in (FlowKind.DOWNLOAD, FlowKind.HALF_CLOSED):
            self._start_download(now)
        else:
            self._pause(now)

    def _pause(self, now: float) -> None:
        pauses = {FlowKind.CHATTY: CHAT_PAUSE_S, FlowKind.UPLOAD: UPLOAD_PAUSE_S}
        pause_s = pauses.get(self.kind, self._life_s) * random.uniform(0.8, 1.2)
        seconds = max(0.0, min(pause_s, self._ends_at - now))
        self._timer = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """The pause is over: the next question, or the last one."""
        self._timer = None
        if self.ended or self._is_last or (self._due is not None and self.kind is not FlowKind.DOWNLOAD):
            return
        if time.monotonic() >= self._ends_at - 0.001 or self.kind in (FlowKind.IDLE, FlowKind.DOWNLOAD):
            self._ask_last()
        elif self.kind is FlowKind.UPLOAD:
            self._ask(Verb.TAKE, content(self.number, self._exchanges, UPLOAD_BYTES))
        else:
            self._ask(Verb.ECHO, os.urandom(random.randint(*CHAT_BYTES)))

    def _ask_last(self) -> None:
        self._is_last = True
        self._left = 0
        self._ask(Verb.ECHO, os.urandom(LAST_BYTES), LAST)

    def _start_download(self, now: float) -> None:
        count = max(1, int((self._ends_at - now) / DOWNLOAD_PAUSE_S))
        sending = Sending(count, DOWNLOAD_BYTES, DOWNLOAD_PAUSE_S)
        self._left = count
        self._write(Request(self.number, self._exchanges, ask(Verb.SEND, sending.pack())))
        self._expect(self._exchanges, now)
        self._asked_at = now
        if self.kind is FlowKind.HALF_CLOSED and self._transport is not None:
            self._transport.write_eof()

    def _expect(self, number: int, now: float) -> None:
        """The next answer of a download is due at `now`."""
        self._due = Answer(self.number, number, self.server, content(self.number, number, DOWNLOAD_BYTES))
        self._due_since = now

    def _ask(self, verb: Verb, data: bytes, number: int | None = None) -> None:
        number = self._exchanges if number is None else number
        expected = digest(data) if verb is Verb.TAKE else data
        self._due = Answer(self.number, number, self.server, expected)
        self._due_since = self._asked_at = time.monotonic()
        self._write(Request(self.number, number, ask(verb, data)))

    def _write(self, request: Request) -> None:
        assert self._transport is not None
        self._transport.write(pack_request(request))

    def _end(self, outcome: Outcome, note: str = "") -> None:
        if self.ended:
            return
        self.ended = True
        self._stop_timer()
        now = time.monotonic()
        waited_s = now - self._due_since if self._due is not None else 0.0
        self._on_end(
            self,
            Ended(
                number=self.number,
                kind=self.kind,
                port=self.port,
                server=self.server,
                opened_at=self._opened_at,
                ended_at=now,
                asked_at=self._asked_at,
                longest_wait_s=max(self._longest_wait_s, waited_s),
                exchanges=self._exchanges,
                note=note,
                outcome=outcome,
            ),
        )
        if self._transport is not None:
            if outcome is Outcome.WHOLE:
                self._transport.close()
            else:
                self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
