"""What one flow has seen, and whether that counts as broken. Pure: the caller says what happens and when.

A flow asks one question at a time. Its *stall* is how long a question waits for its answer. Time is cut into
windows, one for each event of a drill; a wait counts in every window that it reaches into. A flow breaks
once, in the window in which it does: by a reset, by wrong bytes, by an answer from another server, or by a
stall longer than the window allows. A broken flow is not looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lbnode.lab.echo import Answer, Request


class Break(Enum):
    """How a flow broke."""

    RESET = "reset"
    STALL = "stalled"
    OTHER_SERVER = "answered by another server"
    WRONG_BYTES = "answered with other bytes"


@dataclass(frozen=True, slots=True)
class FlowWindow:
    """What a flow saw in one window: its longest stall in seconds, and how it broke there, if it did."""

    longest_stall_s: float
    broke: Break | None


class FlowHistory:
    """The life of one flow, from its first question on."""

    __slots__ = (
        "_asked",
        "_asked_at",
        "_broke_here",
        "_longest_s",
        "answered_since",
        "broken",
        "exchanges",
        "server",
    )

    def __init__(self) -> None:
        self.server: str | None = None
        """Who gave the first answer, and must give all others."""
        self.broken: Break | None = None
        self.exchanges = 0
        """Questions answered."""
        self.answered_since = float("-inf")
        """When the last answered question was asked: the path has worked at some time after that."""
        self._asked: Request | None = None
        self._asked_at = 0.0
        self._longest_s = 0.0
        self._broke_here: Break | None = None

    def ask(self, request: Request, now: float) -> None:
        """A question goes out."""
        self._asked, self._asked_at = request, now

    def answer(self, answer: Answer, now: float) -> None:
        """An answer has come in."""
        asked = self._asked
        self._longest_s = max(self._longest_s, self.wait_s(now))
        self._asked = None
        if asked is None or (answer.flow, answer.number, answer.payload) != (
            asked.flow,
            asked.number,
            asked.payload,
        ):
            self._break(Break.WRONG_BYTES)
        elif self.server not in (None, answer.server):
            self._break(Break.OTHER_SERVER)
        else:
            self.server = answer.server
            self.exchanges += 1
            self.answered_since = self._asked_at

    def garbled(self) -> None:
        """Bytes have come in that are no answer."""
        self._break(Break.WRONG_BYTES)

    def lose(self, now: float) -> None:
        """The connection has ended, and not by us."""
        self._longest_s = max(self._longest_s, self.wait_s(now))
        self._asked = None
        self._break(Break.RESET)

    def wait_s(self, now: float) -> float:
        """How long the open question has been waiting; 0 when there is none or nobody cares any more."""
        return 0.0 if self._asked is None or self.broken else now - self._asked_at

    def close_window(self, now: float, limit_s: float) -> FlowWindow:
        """End the present window, in which stalls up to `limit_s` are allowed, and begin the next."""
        longest_s = max(self._longest_s, self.wait_s(now))
        if longest_s > limit_s:
            self._break(Break.STALL)
        window = FlowWindow(longest_s, self._broke_here)
        self._longest_s, self._broke_here = 0.0, None
        return window

    def _break(self, how: Break) -> None:
        if self.broken is None:
            self.broken = self._broke_here = how
