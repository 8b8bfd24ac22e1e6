"""A node's answers to operators: the port that its gRPC server serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from lbnode.app.asking import ask_agents
from lbnode.app.changes import carry_out
from lbnode.core.explain import explain
from lbnode.core.forecast import forecast
from lbnode.core.forwarding import PoolInKernel
from lbnode.core.status import assess
from lbnode.daemon.memory import Memory
from lbnode.model.epoch import Epoch
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.forecast import Forecast
from lbnode.model.ids import NodeName, PoolName
from lbnode.model.members import NodeLive
from lbnode.model.requests import Apply, Outcome, Refusal, RefusalKind
from lbnode.model.status import FleetStatus
from lbnode.model.traffic import Traffic
from lbnode.rpc.port import Verb
from lbnode.settings.fleet import FleetFileError, read_fleet
from lbnode.settings.fleet_text import write_fleet


class Cluster:
    """Implements `lbnode.rpc.port.ClusterPort` for the daemon whose state `live`, `pools` and `traffic` tell.

    `gone_at`: since when nodes have been missing, kept up to date by the daemon.
    """

    def __init__(
        self,
        memory: Memory,
        live: Callable[[], NodeLive],
        pools: Callable[[], Mapping[PoolName, PoolInKernel]],
        traffic: Callable[[], Traffic],
        gone_at: Mapping[NodeName, float],
    ) -> None:
        self._memory = memory
        self._live = live
        self._pools = pools
        self._traffic = traffic
        self._gone_at = gone_at

    async def status(self) -> FleetStatus:
        """Return the fleet as this node sees it now."""
        await self._memory.store.catch_up()
        view, trouble = self._memory.view(), self._memory.trouble(time.monotonic())
        return assess(view, self._live(), self._in_use(), time.time(), self._gone_at, trouble)

    async def traffic(self) -> Traffic:
        """Return what this node has counted."""
        return self._traffic()

    async def explain(self, question: FlowQuestion) -> Explanation | Refusal:
        """Return what becomes of a flow by the tables in this node's kernel."""
        return explain(self._memory.view(), self._in_use(), question)

    async def apply(
        self, fleet_yaml: str, *, dry_run: bool, based_on: int | None, force: bool
    ) -> Outcome | Refusal:
        """Check `fleet_yaml` whole, then make the fleet that."""
        try:
            desired = read_fleet(fleet_yaml)
        except FleetFileError as error:
            return error.refusal()
        return await carry_out(self._memory, Apply(desired, dry_run, based_on, force))

    async def plan(self, fleet_yaml: str) -> Forecast | Refusal:
        """Say what applying `fleet_yaml` would do to the flows that agents hold now; they are asked first.

        Counted beside the loop, which goes on.
        """
        try:
            desired = read_fleet(fleet_yaml)
        except FleetFileError as error:
            return error.refusal()
        await ask_agents(self._memory, self._memory.view())
        await self._memory.store.catch_up()
        return await asyncio.to_thread(forecast, self._memory.view(), desired, time.time())

    async def export(self) -> str | Refusal:
        """Return the desired fleet as the text of a fleet.yaml."""
        desired = self._memory.view().desired
        if desired is None:
            return Refusal(
                RefusalKind.STATE, "nothing was applied to this fleet yet", "lbctl apply -f fleet.yaml"
            )
        return write_fleet(desired)

    async def control(self, request: Verb) -> Outcome | Refusal:
        """Carry out one verb."""
        return await carry_out(self._memory, request)

    def _in_use(self) -> dict[PoolName, Epoch]:
        """The epochs whose tables carry traffic in this node's kernel."""
        return {name: held.current for name, held in self._pools().items() if held.current is not None}
