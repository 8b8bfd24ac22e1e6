"""What a process has left to be read later, and when it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lbnode.store.interest import Interest

Ask = Callable[[str], None]


class Leisure:
    """Questions that can wait, each with its path, once however often it was left. On the loop."""

    def __init__(self, interest: Interest) -> None:
        self._interest = interest
        self._loop = asyncio.get_running_loop()
        self._left: set[tuple[Ask, str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._hurried = False

    def hurry(self, hurried: bool) -> None:
        """Let nothing wait from now on, or do so again."""
        self._hurried = hurried
        if hurried:
            self.read()

    def has_time(self, path: str) -> bool:
        """Whether what is at `path` can wait."""
        return not self._hurried and self._interest.can_wait(path)

    def leave(self, ask: Ask, path: str) -> None:
        """Ask for `path` later: in a while, or when somebody wants to know."""
        self._left.add((ask, path))
        if self._timer is None and self._interest.has_leisure(path):
            self._timer = self._loop.call_later(self._interest.leisure_s, self._read_in_time)

    def read(self) -> bool:
        """Ask for all that was left; say whether there was anything."""
        left = self._taken()
        for ask, path in left:
            ask(path)
        return bool(left)

    def forget(self) -> None:
        """Ask for none of it."""
        self._taken()

    def _read_in_time(self) -> None:
        """Ask for what may not wait longer; what only somebody's question ends goes on to wait."""
        for ask, path in self._taken():
            if self._interest.has_leisure(path):
                ask(path)
            else:
                self._left.add((ask, path))

    def _taken(self) -> set[tuple[Ask, str]]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left, self._left = self._left, set()
        return left
