"""The agent keeps this machine as the fleet wants it: joins the fleet's memory, the machine and the plan.

One task turns views into changes, woken by store and kernel; it always looks at the newest of both. Ending
it, in whatever way, changes nothing on the machine: nodes go on sending, and what is attached goes on taking.
"""

from __future__ import annotations

import asyncio
import contextlib
from importlib.metadata import version

import structlog

from lbnode.backend.fleet import AgentFleet
from lbnode.backend.host import Host
from lbnode.backend.plan import Accept, Acknowledge, AddAddress, Attach, Command, Plan, RemoveAddress
from lbnode.backend.settings import BackendSettings
from lbnode.dataplane.errors import DataPlaneError
from lbnode.model.epoch import ALGORITHM
from lbnode.model.ids import BackendName
from lbnode.model.members import AgentLive, AgentMember
from lbnode.model.view import FleetView
from lbnode.netdev import NetdevError
from lbnode.netdev.watcher import Change, Event, Watcher
from lbnode.store.tree import StoreError

log = structlog.get_logger()

STORE_PATIENCE_S = 3.0
"""How long a starting agent waits for the store before it says that it goes by its own memory."""

RETRY_S = 1.0
"""After a change that the kernel or the store refused."""

WATCHED = frozenset({Change.LINK, Change.ADDRESS, Change.OVERFLOW})


class Agent:
    """One backend's agent on an opened `host`. `run` ends when `stop` is called."""

    def __init__(self, settings: BackendSettings, fleet: AgentFleet, host: Host) -> None:
        self._settings = settings
        self._name = BackendName(settings.name)
        self._fleet = fleet
        self._host = host
        self._plan = Plan(self._name)
        self._dirty = asyncio.Event()
        self._stopping = False
        self._trouble = ""

    def stop(self) -> None:
        """End `run` soon; the machine stays as it is."""
        self._stopping = True
        self._dirty.set()

    async def run(self) -> None:
        """Take up what is known and attach, then follow the fleet.

        Raises NetdevError or DataPlaneError if it cannot even begin; later it goes on trying.
        """
        with Watcher(self._kernel_changed):
            await self._begin()
            await self._fleet.start(self._dirty.set)
            try:
                await self._fleet.wait_in_step(STORE_PATIENCE_S)
                await self._follow()
            finally:
                await self._fleet.close()

    async def _begin(self) -> None:
        """Bring the machine to where the last view left it, before anybody is told."""
        for command in await self._commands(self._fleet.view()):
            if not isinstance(command, Acknowledge):
                await self._do(command)
        self._plan.forget()

    async def _follow(self) -> None:
        while not self._stopping:
            self._dirty.clear()
            self._fleet.report()
            patience = None if await self._step() else RETRY_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), patience)

    async def _step(self) -> bool:
        """Bring machine and fleet in step with each other; False when something must be tried again."""
        view = self._fleet.view()
        try:
            await self._register(view)
            for command in await self._commands(view):
                await self._do(command)
            self._fleet.keep(view)
        except (NetdevError, DataPlaneError, StoreError) as error:
            self._plan.forget()
            self._complain(str(error))
            return False
        self._trouble = ""
        return True

    def _complain(self, reason: str) -> None:
        """Say once, not every second, why machine or fleet are not as they should be."""
        if reason != self._trouble:
            log.error("not in step; trying again", reason=reason)
        self._trouble = reason

    async def _commands(self, view: FleetView) -> list[Command]:
        return self._plan.handle(view, await self._host.on_lo(), self._host.owned)

    async def _do(self, command: Command) -> None:
        match command:
            case AddAddress(address):
                await self._host.add(address)
                log.info("vip on lo", address=str(address))
            case RemoveAddress(address):
                await self._host.remove(address)
                log.info("vip off lo", address=str(address))
            case Accept(sources, vips):
                self._host.accept(sources, vips)
                log.info("accepting", sources=sorted(map(str, sources)), vips=len(vips))
            case Attach():
                await self._attach()
            case Acknowledge():
                await self._acknowledge(command)

    async def _register(self, view: FleetView) -> None:
        member = AgentMember(name=self._name, address=self._settings.address, algorithm=ALGORITHM)
        await self._fleet.register(member, view)

    async def _attach(self) -> None:
        before, attached = self._host.attached, await self._host.attach()
        if attached != before:
            interface, mtu = self._settings.interface, attached.path_mtu
            log.info("attached", interface=interface, xdp=str(attached.xdp), path_mtu=mtu)

    async def _acknowledge(self, loaded: Acknowledge) -> None:
        attached = self._host.attached
        live = AgentLive(
            name=self._name,
            version=version("evenkeel"),
            pools=loaded.epochs,
            nodes=loaded.nodes,
            xdp={self._settings.interface: str(attached.xdp)} if attached is not None else {},
        )
        await self._fleet.announce(live)

    def _kernel_changed(self, event: Event) -> None:
        if event.change in WATCHED:
            self._dirty.set()
