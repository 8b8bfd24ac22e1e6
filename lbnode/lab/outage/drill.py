"""The drill of the store: flows run, the cut comes, the script plays, and in the end everything must agree again.

Every few seconds each node and each agent is asked whom it believes in reach of the store: an answer that is not so
counts against the fleet, as a broken flow does. Flows and judgement are those of the churn drill.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from lbnode.lab.churn import evidence
from lbnode.lab.churn.crowd import Look
from lbnode.lab.churn.crowd_process import CrowdProcess
from lbnode.lab.churn.entry import add_vip, is_served, open_flows
from lbnode.lab.churn.judgement import Broken, find_failed, has_outlived, is_unlisted, judge
from lbnode.lab.churn.life import LONGEST_S
from lbnode.lab.churn.memory import Memory
from lbnode.lab.churn.watch_process import WatchProcess
from lbnode.lab.drill import await_nodes
from lbnode.lab.errors import LabError
from lbnode.lab.outage.report import ActReport, OutageReport, Scope, Usage
from lbnode.lab.outage.scene import Scene
from lbnode.lab.outage.script import HEAVIER, Act, Cast, afterwards, cast, join, weigh, weight_of, while_away
from lbnode.lab.plan import CHURN_PORT, POOL, VIP, Host, Role, Store
from lbnode.lab.running import RunningLab, wait_until

LOOK_S = 1.0
SEEN_S = 60.0
"""How long an act may take to have its effect."""

PATIENCE = 1.25
"""So many times as long as the cut was to last it lasts at most, also when an act has no effect: the windows of the
fleet stay open a little longer than that for those who are cut off (`lbnode.core.lateness`)."""

READY_S = 30.0
ENDING_S = LONGEST_S + 15.0
LIVES = 1.5
"""The longest flow lives so many times as long as the cut lasts: a third of the first ones outlive it."""


@dataclass(frozen=True, slots=True)
class OutageOrder:
    """What is to be drilled. `cut_s`: how long the store is away; `window_s`: the pool's affinity window."""

    scope: Scope
    cut_s: float
    window_s: float
    flows: int = 60
    seed: int = 1


class Audience(Protocol):
    """Who watches the drill: a screen, or nobody."""

    def tell(self, line: str) -> None:
        """What is being done."""

    def played(self, act: ActReport) -> None:
        """An act has had its effect, or has not."""

    def saw(self, look: Look, at_s: float) -> None:
        """So it looks, so many seconds after the cut."""


def run_outage(lab: RunningLab, order: OutageOrder, audience: Audience) -> OutageReport:
    """Drill the lab, which must be up. Raises LabError when it is too small or does not work as a lab must."""
    if lab.plan.store is not Store.ZOOKEEPER:
        raise LabError("drill store: it needs a lab with ZooKeeper: lbctl lab up --store zookeeper")
    await_nodes(lab)
    with lab.client(lab.nodes[0].name) as client:
        leader = client.status().leader
    played = cast(lab.nodes, lab.plan.of(Role.BACKEND), leader, order.scope)
    with ExitStack() as stack:
        crowd = stack.enter_context(CrowdProcess(lab.plan.host("client").namespace))
        watch = stack.enter_context(WatchProcess(lab.plan.lab, POOL))
        agents = lab.plan.of(Role.BACKEND) if order.scope is Scope.ALL else [played.agent]
        scene = Scene(lab, crowd, [node.name for node in played.nodes], [host.name for host in agents])
        drill = _Outage(scene, played, watch, order, audience)
        drill.prepare()
        stack.callback(join, scene, played, order.scope)
        return drill.run()


class _Outage:
    """One run."""

    def __init__(
        self, scene: Scene, played: Cast, watch: WatchProcess, order: OutageOrder, audience: Audience
    ) -> None:
        self._scene = scene
        self._played = played
        self._watch = watch
        self._order = order
        self._audience = audience
        self._memory = Memory(scene.lab)
        self._acts: list[ActReport] = []
        self._untrue: Counter[str] = Counter()
        self._looks = 0
        self._cut_at = 0.0

    def prepare(self) -> None:
        """Give the drill a VIP of its own and the pool its window, and open a window that ends during the cut: lists
        then have alternates, the agent that is cut off among them.
        """
        scene, order, agent = self._scene, self._order, self._played.agent
        node = scene.lab.nodes[0].name
        self._audience.tell(f"VIP for the drill: {VIP}:{CHURN_PORT}; affinity window {order.window_s:g} s")
        scene.ask(node, add_vip)
        wait_until(self._is_served, READY_S, f"drill store: {VIP}:{CHURN_PORT} to be served")
        scene.ask(node, lambda client: weigh(client, agent, HEAVIER))
        wait_until(lambda: self._weighs(agent, HEAVIER), READY_S, f"drill store: {agent.name} to weigh more")
        scene.ask(node, lambda client: weigh(client, agent, 1, affinity_window_s=order.window_s))
        wait_until(lambda: self._weighs(agent, 1), READY_S, f"drill store: {agent.name} to weigh less again")

    def run(self) -> OutageReport:
        order, scene = self._order, self._scene
        buckets = open_flows(scene.lab, scene.crowd, order.flows, order.seed, LIVES * order.cut_s)
        self._cut_at = time.monotonic()
        usage = scene.usage()
        for act in while_away(scene, self._played, order.scope):
            self._wait(act.at)
            self._play(act)
        self._wait(1.0)
        after = scene.usage()
        returned_at = time.monotonic()
        for act in afterwards(scene, self._played, order.scope):
            self._play(act)
        self._audience.tell("the last exchanges: half-closed connections live to their end")
        scene.crowd.finish()
        wait_until(self._all_ended, ENDING_S, "drill store: the last flows to end")
        both = {name: (usage[name, pid], after[name, pid]) for name, pid in usage if (name, pid) in after}
        return self._report(buckets, returned_at, both)

    def _is_served(self) -> bool:
        self._scene.look()
        nodes = self._scene.lab.nodes
        return not self._scene.dissent() and all(
            is_served(status, len(nodes)) for status in self._scene.statuses.values()
        )

    def _weighs(self, backend: Host, weight: int) -> bool:
        self._scene.look()
        said = {weight_of(self._scene, node.name, backend) for node in self._scene.lab.nodes}
        return said == {weight} and not self._scene.dissent()

    # -- what happens

    def _wait(self, part: float) -> None:
        """Watch until so much of the cut is over."""
        until = self._cut_at + part * self._order.cut_s
        while time.monotonic() < until:
            self._look()
            time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))

    def _play(self, act: Act) -> None:
        """Do it, and wait until it has had its effect."""
        at = time.monotonic()
        act.do()
        until = at + SEEN_S
        if self._scene.is_cut:
            until = min(until, self._cut_at + PATIENCE * self._order.cut_s)
        failed = ""
        while True:
            self._look()
            if act.seen():
                break
            if time.monotonic() > until:
                failed = (
                    "; ".join(self._scene.untrue() if self._scene.is_cut else self._scene.dissent())
                    or act.why()
                )
                break
            time.sleep(LOOK_S / 4)
        report = ActReport(act.what, at - self._cut_at, time.monotonic() - at, failed)
        self._acts.append(report)
        self._audience.played(report)

    def _look(self) -> None:
        scene = self._scene
        scene.look()
        self._memory.look([node.name for node in scene.lab.nodes])
        if scene.is_cut and self._acts:
            self._looks += 1
            self._untrue.update(scene.untrue())
        self._audience.saw(scene.crowd.look(), time.monotonic() - self._cut_at)

    def _all_ended(self) -> bool:
        look = self._scene.crowd.look()
        self._audience.saw(look, time.monotonic() - self._cut_at)
        return look.whole + sum(look.broken.values()) >= look.opened

    # -- the report

    def _report(
        self, buckets: Mapping[int, int], returned_at: float, usage: Mapping[str, tuple[Usage, Usage]]
    ) -> OutageReport:
        scene, order = self._scene, self._order
        sightings = self._watch.save(scene.lab.directory("") / "outage.npz")
        ended = scene.crowd.ended()
        failed = find_failed(scene.failures, self._memory.id_of, (), sightings)
        judgement = judge(ended, buckets, failed, sightings)
        shares = evidence.shares(sightings.packets)
        return OutageReport(
            scope=order.scope,
            cut_s=order.cut_s,
            window_s=order.window_s,
            flows=len(ended),
            lasted=sum(flow.opened_at < self._cut_at and flow.ended_at > returned_at for flow in ended),
            exchanges=sum(flow.exchanges for flow in ended),
            longest_wait_s=max((flow.longest_wait_s for flow in ended), default=0.0),
            **self._sort(judgement.broken),
            victims=judgement.victims,
            refused=judgement.refused,
            acts=tuple(self._acts),
            agreed_after_s=next(act.took_s for act in self._acts if act.at_s >= order.cut_s),
            untrue=dict(self._untrue),
            looks=self._looks,
            cut_off_share=sum(shares.get(node, 0.0) for node in scene.nodes),
            local_tables=len(list(evidence.differing(sightings.switches, ()))),
            usage=usage,
        )

    def _sort(self, broken: Sequence[Broken]) -> dict[str, tuple[Broken, ...]]:
        """Tell the flows that had a promise (`broken`) from those whose window was over or that were never listed."""
        found: dict[str, list[Broken]] = {"broken": [], "outlived": [], "unlisted": []}
        for each in broken:
            holder = self._memory.id_of(each.flow.server)
            if has_outlived(each, holder, self._order.window_s):
                found["outlived"].append(each)
            else:
                found["unlisted" if is_unlisted(each, holder) else "broken"].append(each)
        return {why: tuple(flows) for why, flows in found.items()}
