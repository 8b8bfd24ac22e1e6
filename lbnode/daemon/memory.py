"""The fleet as this daemon knows it: the store when it answers, else what was last seen, else the copy on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from lbnode.core.regression import regression
from lbnode.daemon.waiting import wait_at_most
from lbnode.model.view import FleetView
from lbnode.store.copy import DiskCopy
from lbnode.store.fleet import FleetStore, ForeignFleetError
from lbnode.store.tree import Session, StoreError, Tree

log = structlog.get_logger()

LOCAL_AFTER_S = 3.0
"""How long the store may be out of reach before this node trusts its own health verdicts ("local view")."""

RETURN_S = 15.0
"""So long after the store answers (again) a node's own verdicts go on to count: the fleet has to learn them first."""


KEEP_S = 1.0
"""How long news waits for more of it before the disk is written: the copy is read only after a restart."""


class Memory:
    """Joins the store to its copy on disk. `view` never fails and never waits."""

    def __init__(self, tree: Tree, copy: DiskCopy) -> None:
        self._copy = copy
        loaded = copy.load()
        if loaded.problem:
            log.error("copy on disk not used", reason=loaded.problem)
        self._last = loaded.view or FleetView()
        identity = self._last.identity
        self.store = FleetStore(tree, identity.uuid if identity else None, self._last)
        self._lost_at: float | None = time.monotonic()
        self._back_at = -RETURN_S
        self._kept: FleetView | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._foreign = ""
        self.unkept = ""
        """Why the copy on disk is older than what is known: an alarm; empty while it can be written."""

    async def start(self, on_change: Callable[[], None]) -> None:
        """Begin to connect; returns at once, store or no store."""

        def session_changed(session: Session) -> None:
            connected = session is Session.CONNECTED
            if connected:
                self._back_at = time.monotonic()
                self._lost_at = None
            elif self._lost_at is None:
                self._lost_at = time.monotonic()
            log.info("store", session=session.value, at=self.store.address)
            on_change()

        await self.store.start(on_change, session_changed)

    async def close(self) -> None:
        """Finish writing the copy and end the session."""
        self._closing.set()
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        await self.store.close()

    @property
    def problem(self) -> str:
        """Why the store is not believed although it answers, or an empty string."""
        return self._foreign

    def view(self) -> FleetView:
        """Return the newest view: `connected` says whether it is the store's."""
        try:
            view = self.store.view()
        except ForeignFleetError as error:
            return self._refuse(str(error))
        if view.identity is None and not view.connected:
            return replace(self._last, connected=False)
        if view is self._last and not self._foreign:
            return view
        older = regression(self._last, view) if view.connected else ""
        if older:
            return self._refuse(f"store {self.store.address}: {older}")
        self._foreign = ""
        self._last = view
        return view

    def _refuse(self, reason: str) -> FleetView:
        """Go on with what was known before; say once why."""
        if not self._foreign:
            log.error("store refused", reason=reason)
        self._foreign = reason
        return replace(self._last, connected=False)

    def local(self, now: float) -> bool:
        """Whether the fleet has been out of reach for so long that this node goes by its local view."""
        if self._foreign:
            return True
        return self._lost_at is not None and now - self._lost_at >= LOCAL_AFTER_S

    def trouble(self, now: float) -> str:
        """Return what is wrong with the store, and since when, for people; an empty string when nothing is."""
        if self._foreign:
            return f"refused: {self._foreign}"
        return "" if self._lost_at is None else f"out of reach for {now - self._lost_at:.0f} s"

    def counts_own_verdicts(self, now: float) -> bool:
        """Whether this node's own verdicts count on top of the epoch: in its local view, and for a while after.

        What the store says at first is as old as its outage: a backend that failed meanwhile is in the epoch still.
        """
        return self.local(now) or (self._lost_at is None and now - self._back_at < RETURN_S)

    def keep(self, view: FleetView) -> None:
        """Bring the copy on disk up to date soon, in the background; only what the store says is kept."""
        if not view.connected or view.identity is None or view is self._kept:
            return
        self._kept = view
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._save(), name="copy on disk")

    async def _save(self) -> None:
        """Write what was last kept, and again while that changes."""
        written: FleetView | None = None
        while self._kept is not None and self._kept is not written:
            await wait_at_most(self._closing, KEEP_S)
            written = self._kept
            try:
                await asyncio.to_thread(self._copy.save, written)
                self.unkept = ""
            except StoreError as error:
                if str(error) != self.unkept:
                    log.error("copy on disk not written", problem=str(error))
                self.unkept = str(error)
                self._kept = None  # so that the next look tries again
