"""The node daemon's loop: look at the fleet, decide, act; again after each change and at least once a second.

One pass (`_reconcile`) reads the newest view and brings everything to it: the leader's writes, the kernel, the
routers, the prober, and what this node says of itself. A pass that is overtaken by a change is simply followed by
the next one, so no event has to be remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import structlog

from lbnode.app.announcer import Announcer
from lbnode.app.cluster import Cluster
from lbnode.app.fleet_file import FleetFile
from lbnode.app.health import HealthWatch
from lbnode.app.interface import Interface
from lbnode.app.kernel import Kernel
from lbnode.app.leadership import Leadership
from lbnode.app.traffic import count_traffic
from lbnode.core import announce
from lbnode.core.announce import Phase
from lbnode.core.attendance import Attendance
from lbnode.core.credence import Credence
from lbnode.core.leader import earliest
from lbnode.core.presence import Presence
from lbnode.daemon.credentials import Credentials
from lbnode.daemon.hops import NextHops
from lbnode.daemon.memory import Memory
from lbnode.daemon.release import RELEASE
from lbnode.daemon.service import ServiceManager
from lbnode.daemon.waiting import wait_at_most
from lbnode.dataplane.node import NodeDataPlane
from lbnode.metrics.exporter import Exporter
from lbnode.metrics.sample import PoolSample, Sample
from lbnode.model.epoch import ALGORITHM
from lbnode.model.ids import NodeName
from lbnode.model.members import NodeLive, NodeMember, View
from lbnode.model.traffic import Traffic
from lbnode.model.view import FleetView
from lbnode.rpc.server import RpcServer
from lbnode.settings.node import NodeSettings
from lbnode.store.tree import StoreError

log = structlog.get_logger()

FORWARDED = ("forwarded", "forwarded_keyed")
"""The data plane's counters of packets that went to a backend."""

TICK_S = 1.0
"""A pass at least this often: traffic counters, timers, the fleet file."""

STOP_S = 8.0
"""How long a stop waits for the traffic to go elsewhere after the routes are withdrawn."""

STOPPED_S = STOP_S + 10.0
"""How long a stop may take altogether: sessions, copies and sockets are closed too."""


class NodeDaemon:
    """One node. Built by `lbnode.app.build`; `run` ends after `stop` was called and traffic has gone.

    `dirty` is what every part sets when something may have changed.
    """

    def __init__(
        self,
        settings: NodeSettings,
        credentials: Credentials | None,
        interface: Interface,
        memory: Memory,
        plane: NodeDataPlane,
        hops: NextHops,
        announcer: Announcer,
        dirty: asyncio.Event,
        manager: ServiceManager,
    ) -> None:
        self._settings = settings
        self._manager = manager
        self._name = NodeName(settings.name)
        self._interface = interface
        self._memory = memory
        self._plane = plane
        self._hops = hops
        self._announcer = announcer
        self._dirty = dirty
        self._stopping = False
        self._started_at = time.time()
        self._presence = Presence(now=time.monotonic())
        self._kernel = Kernel(plane, hops, settings.sources)
        self._health = HealthWatch(dirty.set)
        self._credence = Credence()
        self._leadership = Leadership(memory.store, self._name, settings.fleet, dirty.set)
        self._attendance = Attendance()
        cluster = Cluster(
            memory, self._live, lambda: self._kernel.pools, self._traffic, self._attendance.gone_at
        )
        self._credentials = credentials
        self._rpc = RpcServer(cluster, settings.rpc.listen, credentials, settings.rpc.insecure)
        self._fleet_file = FleetFile(settings.fleet_file)
        self._exporter = Exporter()
        self._sampled_at = float("-inf")
        self._joined = False
        self._said: NodeLive | None = None

    def stop(self) -> None:
        """Leave in good order: withdraw first, wait for the traffic to go, then end `run`."""
        self._manager.stopping(STOPPED_S)
        self._stopping = True
        self._dirty.set()

    async def run(self) -> None:
        """Serve until stopped. What is in the kernel stays there."""
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            while not await self._pass():
                pass
            await self._announcer.stop()
            await self._leave()
            log.info("stopped", node=self._name)

    async def _leave(self) -> None:
        """End the membership of a node that does not come back under its name."""
        if not self._settings.leave_on_stop:
            return
        try:
            await self._memory.store.remove_node(self._name)
        except StoreError as error:
            log.warning("still a member", error=str(error), remedy=f"lbctl node remove {self._name}")

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        await self._rpc.start()
        stack.push_async_callback(self._rpc.stop)
        if self._settings.metrics is not None:
            log.info("metrics", at=self._exporter.start(self._settings.metrics.listen))
            stack.callback(self._exporter.stop)
        stack.enter_context(self._interface.watch(self._dirty.set))
        self._hops.start()
        stack.push_async_callback(self._hops.close)
        stack.push_async_callback(self._health.close)
        await self._announcer.start()
        stack.push_async_callback(self._announcer.leave)
        await self._memory.start(self._dirty.set)
        stack.push_async_callback(self._memory.close)
        self._leadership.start()
        stack.push_async_callback(self._leadership.stop)
        log.info("started", node=self._name, version=RELEASE, rpc=self._rpc.addresses)

    async def _pass(self) -> bool:
        """One pass, then a wait for the next; True when the node has stopped."""
        self._dirty.clear()
        wake_at = None
        try:
            wake_at = await self._reconcile()
        except StoreError as error:
            log.error("store", error=str(error))
        self._manager.alive()
        if self._presence.phase is Phase.DRAINED and self._stopping:
            return True
        if self._stopping and self._presence.stopping_s(time.monotonic()) > STOP_S:
            log.warning("stopped although packets still arrive", waited_s=STOP_S)
            return True
        now = time.monotonic()
        timeout = max(0.0, (earliest(wake_at, now + TICK_S) or now) - now)
        await wait_at_most(self._dirty, timeout)
        return False

    async def _reconcile(self) -> float | None:
        view = await self._prepared_view()
        now = time.monotonic()
        self._attendance.observe(view, time.time())
        wake_at = await self._leadership.step(view, now)
        await self._interface.refresh()
        await self._fleet_file.apply(self._memory, view, self._leadership.leading)
        local = self._memory.local(now)
        verdicts = self._credence.weigh(self._health.verdicts(), now)
        by_own = self._memory.counts_own_verdicts(now)
        self._kernel.follow(view, by_own, verdicts, self._announcer.announced)
        if self._kernel.take_over(view, by_own):
            self._interface.doubt()
        self._announce(view, now)
        self._health.follow(view)
        await self._speak(view)
        self._memory.keep(view)
        self._export(local, now)
        await self._rpc.set_ready(bool(self._kernel.pools) or view.connected)
        return earliest(wake_at, self._presence.wake_at(now))

    async def _prepared_view(self) -> FleetView:
        """Return the newest view after what takes time is done: looking next hops up, the first time above all."""
        view = self._memory.view()
        while not self._kernel.is_prepared(view):
            await self._kernel.prepare(view)
            view = self._memory.view()
        return view

    def _announce(self, view: FleetView, now: float) -> None:
        """Tell the routers what this node can carry, once it has seen a fleet at all; that it can not, at once."""
        drained = self._name in view.intents.drained_nodes or self._stopping
        serving = self._announcer.serves(bool(self._kernel.pools) and not drained)
        self._presence.observe(now, drained, serving, self._forwarded(), self._stopping)
        obstacle = self._presence.obstacle(now, self._interface.obstacle)
        is_early = view.identity is None or (self._kernel.waits_for and not self._stopping)
        if is_early and not obstacle:
            return
        deaf = announce.deaf_agents(view, self._name)
        decision = announce.decide(
            view,
            self._kernel.pools,
            self._name,
            self._announcer.announced,
            self._presence.waited_s(now, bool(deaf)),
            self._presence.draining_s(now),
            obstacle,
        )
        self._announcer.announce(decision)

    def _forwarded(self) -> int:
        counters = self._plane.counters()
        return sum(counters[name].packets for name in FORWARDED)

    async def _speak(self, view: FleetView) -> None:
        """Say who this node is and what it has; nothing is written when nothing has changed."""
        if not view.connected or view.identity is None:
            return
        if not self._joined:
            member = NodeMember(self._name, self._settings.sources, ALGORITHM)
            if view.nodes.get(self._name) != member:
                await self._memory.store.put_node(member)
            self._joined = True
        live = self._live()
        if live != self._said or self._name not in view.live_nodes:
            await self._memory.store.announce_live_node(live)
            self._said = live

    def _live(self) -> NodeLive:
        """What this node says of itself, to the fleet and in its own status."""
        local = self._memory.local(time.monotonic())
        return NodeLive(
            name=self._name,
            version=RELEASE,
            state=View.LOCAL.value if local else self._presence.phase.value,
            started_at=self._started_at,
            rpc_address=self._rpc.addresses[0],
            pools=self._kernel.loaded(),
            announced=self._announcer.announced,
            routers=self._announcer.routers,
            verdicts=self._health.verdicts(),
            xdp={self._settings.interface: self._interface.xdp},
            alarms=tuple(self._alarms()),
            vips=self._kernel.vips(),
        )

    def _export(self, local: bool, now: float) -> None:
        """Give scrapers new numbers about once a tick: many passes change none of them."""
        if now >= self._sampled_at + TICK_S / 2:
            self._exporter.sample = self._sample(local)
            self._sampled_at = now

    def _sample(self, local: bool) -> Sample:
        """This node in numbers, for those who scrape it."""
        loaded = self._kernel.loaded()
        return Sample(
            version=RELEASE,
            local_view=local,
            leading=self._leadership.leading,
            alarms=len(tuple(self._alarms())),
            announced=len(self._announcer.announced),
            routers={router: state == "up" for router, state in self._announcer.routers.items()},
            pools={pool: PoolSample(held.current or 0, not held.problem) for pool, held in loaded.items()},
            verdicts=self._health.verdicts(),
            traffic=self._traffic(),
        )

    def _traffic(self) -> Traffic:
        """What the kernel has counted until now."""
        return count_traffic(self._name, self._plane, self._memory.view())

    def _alarms(self) -> Iterator[str]:
        """What an operator should know of this node, besides what its records tell anyway."""
        yield from self._leadership.alarms
        if self._credentials is not None:
            yield from self._credentials.alarms()
        if self._interface.problem:
            yield self._interface.problem
        if self._kernel.problem:
            yield f"the kernel refused a change: {self._kernel.problem}"
        if self._kernel.waits_for:
            yield f"packets go by the tables of an earlier lbnode, as they were: {self._kernel.waits_for}"
        if self._memory.store.problem:
            yield f"store: {self._memory.store.problem}"
        if self._memory.unkept:
            yield self._memory.unkept
        if self._fleet_file.problem:
            yield f"fleet file not applied: {self._fleet_file.problem}"
        unresolved = sorted(str(address) for address in self._hops.unresolved())
        if unresolved:
            yield f"no next hop to {', '.join(unresolved)}: check `ip route get` and `ip neigh` on this node"
        if self._presence.phase in (Phase.STARTING, Phase.UP):
            for address, reason in self._announcer.withheld.items():
                yield f"{address} is not announced: {reason}"
