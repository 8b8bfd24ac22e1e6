"""What the kernel had when it was last asked, for as long as it has not told of a change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Seen(Generic[T]):
    """The answer to one question, asked again after `forget`: a request costs a millisecond of Python."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._answers: list[T] = []
        self._forgotten = 0

    async def get(self) -> T:
        """Return the answer. Raises what `ask` raises; then the next call asks again."""
        if not self._answers:
            before, answer = self._forgotten, await self._ask()
            if before != self._forgotten:
                return answer  # something changed while the kernel was asked
            self._answers = [answer]
        return self._answers[0]

    def forget(self) -> None:
        """The answer may be another one now."""
        self._forgotten += 1
        self._answers = []
