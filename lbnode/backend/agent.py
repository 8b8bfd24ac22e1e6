"""The agent keeps this machine as the fleet wants it: joins the fleet's memory, the machine and the plan.

One task turns views into changes, woken by store and kernel; it always looks at the newest of both. Ending
it, in whatever way, changes nothing on the machine: nodes go on sending, and what is attached goes on taking.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import structlog

from lbnode.backend.fleet import AgentFleet
from lbnode.backend.host import Host
from lbnode.backend.leaving import Departure, Stage, is_listed
from lbnode.backend.loading import DropPool, Loading, LoadTable
from lbnode.backend.plan import (
    Accept,
    Acknowledge,
    AddAddress,
    Attach,
    Command,
    Plan,
    RemoveAddress,
    Serve,
)
from lbnode.backend.settings import BackendSettings
from lbnode.backend.watch import Watch
from lbnode.daemon.release import RELEASE
from lbnode.daemon.service import ServiceManager
from lbnode.daemon.waiting import wait_at_most
from lbnode.dataplane.errors import DataPlaneError
from lbnode.model.epoch import ALGORITHM
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.members import AgentLive, AgentMember
from lbnode.model.view import FleetView
from lbnode.netdev import NetdevError
from lbnode.netdev.events import Change, Event
from lbnode.netdev.watcher import Group, Watcher
from lbnode.store.tree import StoreError

log = structlog.get_logger()

STORE_PATIENCE_S = 3.0
"""How long a starting agent waits for the store before it says that it goes by its own memory."""

RETRY_S = 1.0
"""After a change that the kernel or the store refused."""

STOPPED_S = 20.0
"""How long a stop may take beside a drain."""

LEAVING_S = 0.5
"""Between two looks at how far a leaving backend is: some of it passes by time alone."""

EARLIER = "packets go by the maps of an earlier agent, as they were, until nothing is missing in this one's"

WATCHED = Group.LINK | Group.IPV4_ADDRESS | Group.IPV6_ADDRESS | Group.IPV4_ROUTE | Group.IPV6_ROUTE


class Agent:
    """One backend's agent on an opened `host`. `run` ends when `stop` is called."""

    def __init__(
        self,
        settings: BackendSettings,
        fleet: AgentFleet,
        host: Host,
        dirty: asyncio.Event,
        manager: ServiceManager,
    ) -> None:
        self._settings = settings
        self._manager = manager
        self._name = BackendName(settings.name)
        self._fleet = fleet
        self._host = host
        loaded = host.loaded()
        self._plan = Plan(
            self._name,
            Loading(
                {pool: table.epoch for pool, table in loaded.items()},
                {pool: table.digest for pool, table in loaded.items()},
            ),
            succeeds=host.succeeds,
        )
        self._dirty = dirty
        self._watch = Watch(self._name, settings.second_chance, host.heard(), fleet.answer, dirty.set)
        self._acknowledged = Acknowledge({}, ())
        self._announced: AgentLive | None = None
        self._departure: Departure | None = None
        self._stopping = False
        self._trouble = ""
        self._lacking: tuple[str, ...] = ()

    def stop(self) -> None:
        """End `run`: soon, or with `leave_on_stop` after a drain, unless called twice. The machine stays as it is."""
        if self._settings.leave_on_stop and self._departure is None:
            log.info("leaving", waits_at_most_s=self._settings.drain_s)
            self._manager.stopping(self._settings.drain_s + STOPPED_S)
            self._departure = Departure(self._name, time.monotonic(), self._settings.drain_s)
        else:
            self._manager.stopping(STOPPED_S)
            self._stopping = True
        self._dirty.set()

    async def run(self) -> None:
        """Take up what is known and attach, then follow the fleet.

        Raises NetdevError or DataPlaneError if it cannot even begin; later it goes on trying.
        """
        with Watcher(self._kernel_changed, WATCHED):
            await self._begin()
            await self._fleet.start(self._dirty.set)
            self._watch.start()
            try:
                await self._fleet.wait_in_step(STORE_PATIENCE_S)
                await self._follow()
            finally:
                await self._watch.close()
                await self._fleet.close()

    async def _begin(self) -> None:
        """Bring the machine to where the last view left it, before anybody is told.

        Maps of another making, which may know more than the copy on disk, go on until the store was asked.
        """
        early = (Acknowledge, Attach) if self._plan.succeeds else (Acknowledge,)
        commands = await self._commands(self._fleet.view())
        await self._do_all([command for command in commands if not isinstance(command, early)])
        self._plan.forget()

    async def _follow(self) -> None:
        while not self._stopping:
            self._dirty.clear()
            self._fleet.report()
            if await self._has_left():
                return
            patience = LEAVING_S if self._departure is not None else self._manager.interval_s
            if not await self._step():
                patience = RETRY_S
            self._manager.alive()
            await wait_at_most(self._dirty, patience)

    async def _has_left(self) -> bool:
        """Look how far a leaving backend is, and tell."""
        leaver = self._departure
        if leaver is None:
            return False
        is_whole, view = await self._fleet.catch_up(), self._fleet.view()
        # Nodes that have not been read yet are not gone: who is missing proves something in a whole view only.
        known = view if is_whole else replace(view, connected=False)
        before, stage = leaver.stage, leaver.handle(known, time.monotonic())
        if stage is not before:
            log.info("leaving", stage=stage.value)
            if before is Stage.DRAINING and leaver.broken is not None:
                log.warning("leaving although flows may be left", flows=dict(leaver.broken))
        return stage is Stage.GONE

    async def _step(self) -> bool:
        """Bring machine and fleet in step with each other; False when something must be tried again."""
        view = self._fleet.view()
        try:
            await self._host.ends.look()
            await self._register(view)
            await self._do_all(await self._commands(view))
            if self._plan.succeeds:
                self._lacking = (*self._lacking, EARLIER)
            await self._catch_up(view)
            self._fleet.keep(view)
        except (NetdevError, DataPlaneError, StoreError) as error:
            self._plan.forget()
            self._complain(str(error))
            return False
        self._complain("; ".join(self._lacking))
        return not self._lacking

    async def _do_all(self, commands: list[Command]) -> None:
        """Carry commands out in order. A VIP that this machine cannot take keeps none of the others back."""
        self._lacking = ()
        for command in commands:
            try:
                await self._do(command)
            except NetdevError as error:
                if not isinstance(command, AddAddress):
                    raise
                self._lacking = (*self._lacking, f"VIP {command.address}: {error}")

    async def _catch_up(self, view: FleetView) -> None:
        """What follows the kernel rather than the fleet: next hops, listeners, flows."""
        wanted = self._plan.wanted
        if wanted is None:
            return
        await self._host.follow(wanted.peers)
        await self._attach()
        self._watch.look(view, wanted, self._plan.loading.loaded)
        await self._watch.hear()
        if self._watch.is_news and self._plan.served is not None:
            self._host.serve(self._plan.served, self._watch.heard)
            self._watch.is_news = False
        await self._announce()

    def _complain(self, reason: str) -> None:
        """Say once, not every second, why machine or fleet are not as they should be."""
        if reason and reason != self._trouble:
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
            case Accept(sources, peers):
                await self._host.accept(command)
                log.info("accepting", sources=sorted(map(str, sources)), backends=len(peers))
            case LoadTable(_, epoch):
                self._host.load(command)
                log.info("table in use", pool=epoch.pool, epoch=epoch.number)
            case Serve(vips):
                await self._watch.listen(vips)
                self._host.serve(command, self._watch.heard)
                log.info("serving", vips=len(vips), new_flows_of=sorted(command.intake))
            case DropPool(pool):
                self._host.drop_pool(pool)
                log.info("pool dropped", pool=pool)
            case Attach():
                await self._attach()
            case Acknowledge():
                self._acknowledged = command

    async def _register(self, view: FleetView) -> None:
        settings, leaver = self._settings, self._departure
        member = AgentMember(
            name=self._name,
            addresses=settings.address,
            algorithm=ALGORITHM,
            joins=tuple(PoolName(pool) for pool in settings.join),
            weight=settings.weight,
            leaving=leaver is not None,
        )
        if leaver is None or leaver.stage is Stage.DRAINING:
            await self._fleet.register(member, view)
        elif is_listed(view, self._name):
            await self._fleet.register(replace(member, joins=()), view)
        else:
            await self._fleet.leave(self._name, view)

    async def _attach(self) -> None:
        before, attached = self._host.attached, await self._host.attach()
        self._plan.succeeds = False
        if attached != before:
            interface, mtu = self._settings.interface, attached.path_mtu
            log.info("attached", interface=interface, xdp=str(attached.xdp), path_mtu=mtu)

    async def _announce(self) -> None:
        """Tell the fleet what is loaded now and what flows there are, if that is new."""
        attached, problems = self._host.attached, self._plan.loading.problems.values()
        live = AgentLive(
            name=self._name,
            version=RELEASE,
            pools=self._acknowledged.epochs,
            nodes=self._acknowledged.nodes,
            xdp={self._settings.interface: str(attached.xdp)} if attached is not None else {},
            alarms=(*self._host.ends.problems, *problems, *self._lacking, *self._fleet.alarms),
            flows=dict(self._watch.flows),
            no_second_chance=dict(self._watch.no_second_chance),
        )
        if live != self._announced:
            await self._fleet.announce(live)
            self._announced = live

    def _kernel_changed(self, event: Event) -> None:
        """Routes are of interest where a whole prefix is served: it stands among them."""
        if event.change is not Change.ROUTE or self._host.holds_prefix:
            self._host.look_again()
            self._dirty.set()
