"""What a tree tells on the loop: its session, and that there is something new, once for many changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lbnode.store.tree import Session


class News:
    """The session of a tree, and who hears of it and of changes in the mirror."""

    def __init__(self) -> None:
        self.session = Session.LOST
        self.look: Callable[[], None] | None = None
        """The candidate's: it must know at once."""
        self._is_due = False

    def start(self, on_change: Callable[[], None], on_session: Callable[[Session], None]) -> None:
        """Tell these from now on, on the running loop. See `Tree.start`."""
        self._loop = asyncio.get_running_loop()
        self._on_change, self._on_session = on_change, on_session

    def become(self, session: Session) -> None:
        """Be in another session, and tell everybody; nothing happens if it is the same."""
        if session is self.session:
            return
        self.session = session
        self._loop.call_soon(self._on_session, session)
        self.notice()

    def notice(self) -> None:
        """Tell that the mirror or the session has changed."""
        if self.look is not None:
            self.look()
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._notify)

    def _notify(self) -> None:
        self._is_due = False
        self._on_change()
