"""The fleet as one agent knows it, and what the agent says of itself there."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from lbnode.backend.contact import Contact, ContactFile
from lbnode.backend.errors import BackendError
from lbnode.daemon.memory import Memory
from lbnode.model.flows import FlowReport
from lbnode.model.ids import BackendName
from lbnode.model.members import AgentLive, AgentMember, View
from lbnode.model.view import FleetView

log = structlog.get_logger()


class AgentFleet:
    """Reading never fails and never waits; what the store does not take now is said again when it is back."""

    def __init__(self, memory: Memory, contact: ContactFile) -> None:
        self._memory = memory
        self._contact = contact
        self._said: tuple[View, str] | None = None

    async def start(self, on_change: Callable[[], None]) -> None:
        """Begin to connect; returns at once, store or no store. `on_change`: look at `view` again."""
        await self._memory.start(on_change)

    async def close(self) -> None:
        """End the session and with it the live record; the membership stays."""
        await self._memory.close()

    def view(self) -> FleetView:
        """Return the newest view. A store that is not this fleet's is not believed."""
        return self._memory.view()

    async def catch_up(self) -> bool:
        """Have in the next view what others said of themselves last, which an agent seldom needs.

        Return whether all of it is there.
        """
        return await self._memory.store.catch_up()

    def keep(self, view: FleetView) -> None:
        """Bring the copy on disk up to date with what the store says, in the background."""
        self._memory.keep(view)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with this agent's own memory."""
        return (self._memory.unkept,) if self._memory.unkept else ()

    def report(self) -> None:
        """Say in the log and to `lbbackend status` when the agent begins to go by its own memory, and when it ends."""
        view = self._memory.view()
        now = View.FLEET if view.connected else View.LOCAL
        refused = self._memory.problem
        if (now, refused) == self._said:
            return
        self._said = now, refused
        if now is View.FLEET:
            log.info("fleet view", store=self._memory.store.address)
        else:
            known = "last view" if view.identity is not None else "nothing known of the fleet yet"
            log.warning("local view", store=self._memory.store.address, going_by=known)
        try:
            self._contact.write(Contact(now, time.time(), refused))
        except BackendError as error:
            log.warning("status will not tell", error=str(error))

    async def register(self, member: AgentMember, view: FleetView) -> None:
        """Say what machine this is, unless the fleet knows. Raises StoreError."""
        if view.connected and view.agents.get(member.name) != member:
            await self._memory.store.put_agent(member)

    async def leave(self, name: BackendName, view: FleetView) -> None:
        """Ask for no place in the fleet any more. Raises StoreError."""
        if view.connected and name in view.agents:
            await self._memory.store.remove_agent(name)

    async def announce(self, live: AgentLive) -> None:
        """Say that this agent is connected and what it has loaded. Raises StoreError."""
        await self._memory.store.announce_live_agent(live)

    async def answer(self, report: FlowReport) -> None:
        """Answer the leader's question for flows. Raises StoreError."""
        await self._memory.store.announce_report(report)

    async def wait_in_step(self, timeout_s: float) -> bool:
        """Wait until the store has been read whole once; return whether that happened in time."""
        return await self._memory.store.wait_in_step(timeout_s)
