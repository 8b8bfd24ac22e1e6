"""Leadership in ZooKeeper by kazoo's election recipe: that blocks in a thread; the loop has the last word.

The thread says "elected on connection number n". The loop believes it only while connection n stands and the
mirror is in step, so a leader that has lost contact stops leading before ZooKeeper even knows. When contact
comes back within the session, its place at the head of the queue is still there and it leads again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from kazoo.exceptions import ConnectionClosedError, KazooException

from lbnode.store.tree import Session

log = structlog.get_logger()

UNCONNECTED_PAUSE_S = 0.05

PAUSE_S = 1.0
"""Between attempts after an error that waiting does not cure by itself, such as a missing right."""


class Link(Protocol):
    """What the candidate must know of its tree."""

    @property
    def session(self) -> Session: ...

    @property
    def connection(self) -> int:
        """Grows whenever the connection comes or goes; may be read in any thread."""


class ZooKeeperCandidate:
    """`Campaign` of one `ZooKeeperTree`."""

    def __init__(
        self,
        link: Link,
        client: Any,
        path: str,
        identity: str,
        callbacks: tuple[Callable[[], None], Callable[[], None]],
    ) -> None:
        self._link, self._client, self._path = link, client, path
        self._on_elected, self._on_lost = callbacks
        self._loop = asyncio.get_running_loop()
        self._election = client.Election(path, identity)
        self._leading = False
        self._elected_on: int | None = None
        self._withdrawn, self._disturbed = threading.Event(), threading.Event()
        self._ended = asyncio.Event()
        self.thread = threading.Thread(target=self._run, name="election", daemon=True)
        self.thread.start()

    @property
    def leading(self) -> bool:
        return self._leading

    async def withdraw(self) -> None:
        self.abandon()
        self.look()
        if self._link.session is Session.CONNECTED:
            await self._ended.wait()

    def abandon(self) -> None:
        """Let the thread end: at once, or when the client stops while there is no contact."""
        self._withdrawn.set()
        self._election.cancel()
        self._disturbed.set()

    def look(self) -> None:
        """Compare what is known with what was last said to the caller. On the loop."""
        leading = (
            self._elected_on == self._link.connection
            and self._link.session is Session.CONNECTED
            and not self._withdrawn.is_set()
        )
        if leading != self._leading:
            self._leading = leading
            self._loop.call_soon(self._on_elected if leading else self._on_lost)

    def disturb(self) -> None:
        """The connection came or went: let the thread check whether it still leads. In any thread."""
        self._disturbed.set()

    # -- in the thread

    def _run(self) -> None:
        while not self._withdrawn.is_set():
            try:
                self._election.run(self._lead)
            except ConnectionClosedError:
                self._withdrawn.wait(UNCONNECTED_PAUSE_S)  # the client is still starting, or has stopped
            except KazooException as error:
                log.error("store: cannot stand for election", path=self._path, reason=repr(error))
                self._withdrawn.wait(PAUSE_S)
        self._hand_over(self._ended.set)

    def _lead(self) -> None:
        while not self._withdrawn.is_set():
            self._disturbed.clear()
            connection = self._link.connection
            if not self._holds():
                return
            self._hand_over(self._elected, connection)
            self._disturbed.wait()

    def _holds(self) -> bool:
        """Whether the node that won is still there: its name is unique, and its session's end is its own."""
        node = self._election.lock.node
        return self._client.retry(self._client.exists, f"{self._path}/{node}") is not None

    def _hand_over(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop has ended

    # -- on the loop

    def _elected(self, connection: int) -> None:
        self._elected_on = connection
        self.look()
