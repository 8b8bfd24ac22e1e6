"""What the agent reads off the kernel's sockets: who listens, how many flows there are, in which buckets.

The sockets are read only when somebody wants to know: while a VIP has not been heard yet, while this backend leaves a
pool, and when the leader asks; at most about once a second, in a thread, because 20,000 of them take 30 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog

from lbnode.backend import census
from lbnode.backend.plan import HostState, ServedVip
from lbnode.daemon.waiting import wait_at_most
from lbnode.model.fleet import Protocol
from lbnode.model.flows import FlowQuestion, FlowReport
from lbnode.model.ids import BackendName, EpochNumber, PoolName
from lbnode.model.view import FleetView
from lbnode.model.vip import VipKey
from lbnode.netdev import NetdevError, sockets
from lbnode.netdev.sockets import Flows
from lbnode.store.tree import StoreError

log = structlog.get_logger()

PERIOD_S = 1.0
"""Between two looks at the sockets."""

SETTLE_S = 0.3
"""How long an epoch must have been current before flows are counted: until then nodes may send by the one before."""

TURNED_OFF = "second_chance is false in this backend's settings"


class Watch:
    """One task beside the agent's. `heard`, `flows` and `no_second_chance` are what was seen last.

    A VIP that was heard once stays heard: a server that restarts must not end the flows of other backends.
    """

    def __init__(
        self,
        name: BackendName,
        second_chance: bool,
        heard: Collection[VipKey],
        answer: Callable[[FlowReport], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self._name = name
        self._second_chance = second_chance
        self._heard_before = frozenset(heard)
        self._answer = answer
        self._on_change = on_change
        self._view = FleetView()
        self._wanted = HostState()
        self._loaded: Mapping[PoolName, EpochNumber] = {}
        self._current: dict[PoolName, tuple[EpochNumber, float]] = {}
        self._answered: dict[PoolName, FlowQuestion] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._heard: frozenset[ServedVip] = frozenset()
        self.flows: Mapping[PoolName, int] = {}
        self.is_news = False
        """`heard` has changed since it was last written to the kernel."""

    @property
    def heard(self) -> frozenset[ServedVip]:
        """The VIPs that somebody has listened for."""
        return self._heard

    @property
    def no_second_chance(self) -> Mapping[str, str]:
        """Every TCP VIP without second chance and why."""
        if not self._second_chance:
            return dict.fromkeys(_endpoints(_tcp(self._wanted.vips)), TURNED_OFF)
        return dict.fromkeys(_endpoints(self._silent(self._wanted.vips)), census.NO_LISTENER)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="sockets")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self, view: FleetView, wanted: HostState, loaded: Mapping[PoolName, EpochNumber]) -> None:
        """Take up a new view; `loaded` are the epochs in the kernel."""
        due = (view.questions, wanted) != (self._view.questions, self._wanted)
        self._view, self._wanted, self._loaded = view, wanted, dict(loaded)
        for pool, number in view.current.items():
            if pool not in self._current or self._current[pool][0] != number:
                self._current[pool] = number, time.monotonic()
        if due:
            self._wake.set()

    async def hear(self) -> None:
        """Look for listeners at once, if some VIP has none yet: before an epoch is acknowledged."""
        if self._silent(self._wanted.vips):
            await self._hear()

    async def listen(self, vips: Collection[ServedVip]) -> None:
        """Find out who of `vips` has a listener, before packets for them are taken."""
        known = {vip for vip in vips if vip in self._heard or vip.key in self._heard_before}
        try:
            found = await asyncio.to_thread(sockets.listeners)
        except NetdevError as error:
            log.warning("listeners", error=str(error))
            found = frozenset()
        self._heard = frozenset(known) | census.hearing(vips, found)

    def _silent(self, vips: Collection[ServedVip]) -> frozenset[ServedVip]:
        return _tcp(vips) - self._heard

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            with contextlib.suppress(NetdevError, StoreError):
                await self._look_once()
            pause = SETTLE_S / 2 if self._asked() else PERIOD_S
            await wait_at_most(self._wake, pause)
            await asyncio.sleep(0.05)

    async def _look_once(self) -> None:
        await self.hear()
        asked = [question for question in self._asked() if self._may_answer(question)]
        if not asked and not self._wanted.leaves:
            self._tell({})
            return
        flows = await asyncio.to_thread(sockets.flows)
        for question in asked:
            await self._report(question, flows)
        self._tell(census.totals(self._wanted.leaves, self._wanted.vips, flows))

    async def _hear(self) -> None:
        before = self._heard
        await self.listen(self._wanted.vips)
        if self._heard != before:
            log.info("second chance", heard=_endpoints(self._heard))
            self.is_news = True
            self._on_change()

    def _tell(self, flows: Mapping[PoolName, int]) -> None:
        if flows != self.flows:
            self.flows = flows
            self._on_change()

    def _asked(self) -> list[FlowQuestion]:
        questions = self._view.questions
        mine = (questions[pool] for pool in sorted(self._wanted.pools & questions.keys()))
        return [question for question in mine if self._answered.get(question.pool) != question]

    def _may_answer(self, question: FlowQuestion) -> bool:
        """Only what is counted some time after all nodes went over to the epoch says anything of it."""
        loaded = self._loaded.get(question.pool)
        current = self._current.get(question.pool)
        if loaded is None or current is None or min(loaded, current[0]) < question.epoch:
            return False
        return time.monotonic() - current[1] >= SETTLE_S

    async def _report(self, question: FlowQuestion, flows: Flows) -> None:
        epoch = self._view.epochs.get(question.pool, {}).get(question.epoch)
        if epoch is None or self._view.identity is None:
            return
        counts = census.count_buckets(epoch, self._view.identity, self._wanted.vips, flows)
        await self._answer(FlowReport.of(self._name, question, counts))
        self._answered[question.pool] = question


def _tcp(vips: Collection[ServedVip]) -> frozenset[ServedVip]:
    return frozenset(vip for vip in vips if vip.protocol is Protocol.TCP)


def _endpoints(vips: Collection[ServedVip]) -> list[str]:
    """What people call them."""
    return sorted(vip.key.endpoint for vip in vips)
