"""A leader over time, with a store, nodes that see backends, and agents that acknowledge and count."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Unpack

import numpy as np

from lbnode.core.history import build_table, earlier_epochs
from lbnode.core.leader import Leader
from lbnode.core.writes import AskForFlows
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet
from lbnode.model.flows import FlowReport
from lbnode.model.ids import BackendName, NodeName
from lbnode.model.members import AgentLive, AgentMember, NodeLive
from lbnode.model.view import FleetView
from ring.table import Table

from .fleets import SIZE, WEB, PoolChanges, apply_commands, current, drain, fleet, node, view_of

ANYWHERE = ip_address("10.9.9.9")


class Fleet:
    """A leader and its store over time; every backend has an agent that is connected.

    `flows`: name → the buckets of its flows, one entry a flow. `others`: nodes that are connected beside n1.
    `up`: what the checks of n1 say of backends. `answering`: agents tell their flows when they are asked.
    """

    def __init__(self, *names: str, window_s: float = 100.0) -> None:
        self.leader = Leader()
        self.window_s = window_s
        self.flows: dict[str, list[int]] = {}
        self.others: dict[NodeName, NodeLive] = {}
        self.up: dict[str, bool] | None = None
        self.answering = True
        self.now = 0.0
        self.view: FleetView = replace(view_of(self.desired(*names)), live_nodes={})
        self.join(*names)
        self.settle()

    def desired(self, *names: str, health: bool = False, **changes: Unpack[PoolChanges]) -> DesiredFleet:
        changes.setdefault("affinity_window_s", self.window_s)
        return fleet(*names, health=health, **changes)

    def join(self, *names: str) -> None:
        agents = {BackendName(name): AgentMember(BackendName(name), (ANYWHERE,), 1) for name in names}
        live = {name: AgentLive(name, "0") for name in agents}
        self.view = replace(
            self.view, agents={**self.view.agents, **agents}, live_agents={**self.view.live_agents, **live}
        )

    def settle(self, after_s: float = 0.0) -> None:
        """Let the leader act until it has nothing to do for a minute, agents acknowledging and answering."""
        self.now += after_s
        asked = 0
        for _ in range(60):
            self.acknowledge()
            decision = self.leader.handle(self.view, self.now, self.now)
            self.view = apply_commands(self.view, decision.commands)
            if self.answering:
                self.answer()
            idle = decision.wake_at is None or decision.wake_at > self.now + 30
            asked += any(isinstance(command, AskForFlows) for command in decision.commands)
            if (not decision.commands and idle) or asked > 3:
                return
            if not idle and decision.wake_at is not None:
                self.now = max(self.now, decision.wake_at)
        raise AssertionError("the leader never comes to rest")

    def acknowledge(self) -> None:
        newest = self.view.newest(WEB)
        if newest is not None:
            live = {
                name: replace(agent, pools={WEB: newest.number})
                for name, agent in self.view.live_agents.items()
            }
            number = self.view.current.get(WEB)
            nodes = {NodeName("n1"): node("n1", number, staged=newest.number, up=self.up), **self.others}
            self.view = replace(self.view, live_agents=live, live_nodes=nodes)

    def answer(self) -> None:
        asked = self.view.questions.get(WEB)
        if asked is None:
            return
        reports = {}
        for name in self.view.live_agents:
            counts = np.bincount(self.flows.get(name, []), minlength=SIZE).astype(np.uint16)
            reports[name] = FlowReport.of(name, asked, counts)
        self.view = replace(self.view, reports={WEB: reports})

    def count(self, **flows: int) -> None:
        """Agents tell their totals."""
        live = {
            name: replace(agent, flows={WEB: flows[name]}) if name in flows else agent
            for name, agent in self.view.live_agents.items()
        }
        self.view = replace(self.view, live_agents=live)

    def apply(self, *names: str, health: bool = False, **changes: Unpack[PoolChanges]) -> None:
        self.view = replace(self.view, desired=self.desired(*names, health=health, **changes))

    @property
    def held(self) -> list[str]:
        held = self.view.held.get(WEB)
        return [change.what for change in held.changes] if held else []

    @property
    def epoch(self) -> Epoch:
        return current(self.view)

    @property
    def table(self) -> Table:
        return build_table(self.epoch, earlier_epochs(self.view.epochs[WEB], self.epoch))

    def id(self, name: str) -> int:
        return self.view.backends[BackendName(name)].id


def crowded() -> Fleet:
    """A pool in which some buckets have had three owners: b1 drained, b2 drained, and both have flows there."""
    web = Fleet("b1", "b2", "b3", "b4")
    web.flows = {
        "b1": list(range(SIZE)),
        "b2": list(range(SIZE)),
        "b3": list(range(SIZE)),
        "b4": list(range(SIZE)),
    }
    web.view = drain(web.view, "b1")
    web.settle()
    web.view = drain(web.view, "b1", "b2")
    web.settle()
    return web
