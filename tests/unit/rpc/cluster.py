"""A whole fleet in memory behind the server's port: the real decisions, with records instead of a store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from lbnode.core.control import decide
from lbnode.core.explain import explain
from lbnode.core.forecast import forecast
from lbnode.core.status import assess
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.forecast import Forecast
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.members import AgentLive, AgentMember, LoadedEpoch, NodeLive, NodeMember
from lbnode.model.requests import Apply, Outcome, Refusal, RefusalKind, Request
from lbnode.model.status import FleetStatus
from lbnode.model.traffic import Count, Traffic
from lbnode.model.view import FleetView
from lbnode.rpc.port import Verb
from lbnode.rpc.server import RpcServer
from lbnode.settings.fleet import FleetFileError, read_fleet
from lbnode.settings.fleet_text import write_fleet
from tests.unit.core.fleets import fleet, settle, view_of

N1, N2 = NodeName("n1"), NodeName("n2")
NOW = 1090.0
TRAFFIC = Traffic(
    N1,
    {"forwarded": Count(1234, 123400), "drop_icmp": Count(0, 0)},
    {"192.0.2.10:80/tcp": Count(1000, 100000), "192.0.2.11:any/udp": Count(234, 23400)},
    {PoolName("web"): Count(1234, 123400)},
    {BackendName("b1"): Count(1234, 123400)},
)


class MemoryCluster:
    """Nodes n1 and n2, and `view` for all that is stored. `held_up` lets status never answer.

    `flows`: how many flows a backend's agent counts in each pool once it gets no new ones there.
    """

    def __init__(self, *names: str) -> None:
        first = view_of(fleet(*(names or ("b1", "b2", "b3"))))
        members = {
            name: NodeMember(name, (ip_address(f"10.0.1.{i}"),), 1) for i, name in enumerate((N1, N2), 1)
        }
        self.view = replace(settle(first), nodes=members, leader=N2, desired_version=0, intents_version=0)
        self.held_up = False
        self.cut_off: set[NodeName] = set()
        self.flows: dict[str, int] = {}
        self._connect()

    def join(self, *names: str) -> None:
        """Give backends the agent, connected."""
        agents = {
            BackendName(name): AgentMember(BackendName(name), (ip_address("10.9.9.9"),), 1) for name in names
        }
        live = {name: AgentLive(name, "0.1.0") for name in agents}
        self.view = replace(
            self.view, agents={**self.view.agents, **agents}, live_agents={**self.view.live_agents, **live}
        )
        self.rest()

    def count(self, **flows: int) -> None:
        """Let agents count flows."""
        self.flows |= flows
        self._connect()

    def rest(self) -> None:
        """Let the leader act until it has nothing to do, and everybody follow."""
        self.view = settle(replace(self.view, live_nodes={}))
        self._connect()

    async def status(self) -> FleetStatus:
        if self.held_up:
            await asyncio.Event().wait()
        in_use = {pool: epochs[max(epochs)] for pool, epochs in self.view.epochs.items()}
        return assess(self.view, self.view.live_nodes[N1], in_use, NOW)

    async def traffic(self) -> Traffic:
        return TRAFFIC

    async def explain(self, question: FlowQuestion) -> Explanation | Refusal:
        in_use = {pool: epochs[self.view.current[pool]] for pool, epochs in self.view.epochs.items()}
        return explain(self.view, in_use, question)

    async def apply(
        self, fleet_yaml: str, *, dry_run: bool, based_on: int | None, force: bool
    ) -> Outcome | Refusal:
        try:
            desired = read_fleet(fleet_yaml)
        except FleetFileError as error:
            return error.refusal()
        return self._carry_out(Apply(desired, dry_run, based_on, force), dry_run)

    async def plan(self, fleet_yaml: str) -> Forecast | Refusal:
        try:
            desired = read_fleet(fleet_yaml)
        except FleetFileError as error:
            return error.refusal()
        return forecast(self.view, desired, NOW)

    async def export(self) -> str | Refusal:
        if self.view.desired is None:
            return Refusal(RefusalKind.STATE, "nothing applied yet")
        return write_fleet(self.view.desired)

    async def control(self, request: Verb) -> Outcome | Refusal:
        return self._carry_out(request, dry_run=False)

    def _carry_out(self, request: Request, dry_run: bool) -> Outcome | Refusal:
        plan = decide(self.view, request)
        if isinstance(plan, Refusal) or dry_run:
            return plan if isinstance(plan, Refusal) else plan.outcome(applied=False)
        if plan.desired is None and plan.intents is None and plan.removed_node is None:
            return plan.outcome(applied=True)
        nodes = {name: node for name, node in self.view.nodes.items() if name != plan.removed_node}
        self.view = replace(
            self.view,
            desired=plan.desired or self.view.desired,
            desired_version=self.view.desired_version + (plan.desired is not None),
            intents=plan.intents or self.view.intents,
            intents_version=self.view.intents_version + (plan.intents is not None),
            nodes=nodes,
        )
        self._start_agents()
        self.rest()
        return plan.outcome(applied=True)

    def _start_agents(self) -> None:
        """Every backend that should have an agent has one."""
        desired = self.view.desired.backends if self.view.desired is not None else ()
        started = {
            backend.name: AgentLive(backend.name, "0.1.0")
            for backend in desired
            if backend.agent and backend.name not in self.view.live_agents
        }
        self.view = replace(self.view, live_agents={**self.view.live_agents, **started})

    def _connect(self) -> None:
        nodes = {name: _live(self.view, name) for name in self.view.nodes if name not in self.cut_off}
        agents = {
            name: replace(
                agent,
                pools=dict(self.view.current),
                flows={pool: self.flows[name] for pool in self.view.current if name in self.flows},
            )
            for name, agent in self.view.live_agents.items()
        }
        self.view = replace(self.view, live_nodes=nodes, live_agents=agents)


def _live(view: FleetView, name: NodeName) -> NodeLive:
    loaded: dict[PoolName, LoadedEpoch] = {}
    for pool in view.current:
        epoch = view.current_epoch(pool)
        if epoch is not None:
            loaded[pool] = LoadedEpoch(None, epoch.number, epoch.digest)
    drained = name in view.intents.drained_nodes
    vips = view.desired.vips if view.desired is not None and not drained else ()
    return NodeLive(
        name,
        "0.1.0",
        "drained" if drained else "up",
        1000.0,
        f"unix:/run/{name}",
        loaded,
        tuple(vip.address for vip in vips),
        {"10.9.9.1": "up"},
        xdp={"eth0": "native"},
    )


@contextmanager
def served(cluster: MemoryCluster, socket: Path) -> Iterator[str]:
    """Serve `cluster` on a unix socket from a thread with a loop of its own; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = RpcServer(cluster, [f"unix:{socket}"])
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server.addresses[0]
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
