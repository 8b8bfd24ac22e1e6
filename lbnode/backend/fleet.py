"""The fleet as one agent knows it: the store while it answers, else what was last seen or is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from lbnode.model.members import AgentLive, AgentMember, View
from lbnode.model.view import FleetView
from lbnode.store.copy import DiskCopy
from lbnode.store.fleet import FleetStore, ForeignFleetError
from lbnode.store.tree import Session, StoreError, Tree

log = structlog.get_logger()


class AgentFleet:
    """Reading never fails and never waits; what the store does not take now is said again when it is back."""

    def __init__(self, tree: Tree, copy: DiskCopy) -> None:
        self._copy = copy
        loaded = copy.load()
        if loaded.problem:
            log.error("copy on disk not used", reason=loaded.problem)
        self._last = loaded.view or FleetView()
        identity = self._last.identity
        self._store = FleetStore(tree, identity.uuid if identity else None)
        self._said: View | None = None
        self._refused = ""

    async def start(self, on_change: Callable[[], None]) -> None:
        """Begin to connect; returns at once, store or no store. `on_change`: look at `view` again."""
        await self._store.start(on_change, lambda _session: on_change())

    async def close(self) -> None:
        """End the session and with it the live record; the membership stays."""
        await self._store.close()

    @property
    def connected(self) -> bool:
        """Whether what `view` returns is the fleet's memory as it is now."""
        return self._store.session is Session.CONNECTED and not self._refused

    def view(self) -> FleetView:
        """Return the newest view and keep it on disk. A store that is not this fleet's is not believed."""
        try:
            view = self._store.view()
        except ForeignFleetError as error:
            if str(error) != self._refused:
                log.error("store refused", reason=str(error))
            self._refused = str(error)
            return replace(self._last, connected=False)
        self._refused = ""
        if view.identity is None and not view.connected:
            return replace(self._last, connected=False)
        self._last = view
        return view

    async def keep(self, view: FleetView) -> None:
        """Bring the copy on disk up to date with what the store says."""
        if view.connected and view.identity is not None:
            try:
                await asyncio.to_thread(self._copy.save, view)
            except StoreError as error:
                log.error("copy on disk not renewed", reason=str(error))

    def report(self) -> None:
        """Say in the log when the agent begins to go by its own memory, and when it ends."""
        now = View.FLEET if self.connected else View.LOCAL
        if now is self._said:
            return
        self._said = now
        if now is View.FLEET:
            log.info("fleet view", store=self._store.address)
        else:
            known = "last view" if self._last.identity is not None else "nothing known of the fleet yet"
            log.warning("local view", store=self._store.address, going_by=known)

    async def register(self, member: AgentMember, view: FleetView) -> None:
        """Say what machine this is, unless the fleet knows. Raises StoreError."""
        if view.connected and view.agents.get(member.name) != member:
            await self._store.put_agent(member)

    async def announce(self, live: AgentLive) -> None:
        """Say that this agent is connected and what it has loaded. Raises StoreError."""
        await self._store.announce_live_agent(live)

    async def wait_in_step(self, timeout_s: float) -> bool:
        """Wait until the store has been read whole once; return whether that happened in time."""
        return await self._store.wait_in_step(timeout_s)
