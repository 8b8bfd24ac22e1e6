"""The churn drill: flows come and go by themselves, happenings begin when their time has come, and everything is
judged afterwards from what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from lbnode.lab import network
from lbnode.lab.churn.account import Account, Log, second_chances
from lbnode.lab.churn.crowd import Look
from lbnode.lab.churn.crowd_process import CrowdProcess
from lbnode.lab.churn.entry import add_vip, is_served, open_flows
from lbnode.lab.churn.happenings import HAPPENINGS
from lbnode.lab.churn.life import LONGEST_S
from lbnode.lab.churn.memory import Holds, Memory
from lbnode.lab.churn.report import ChurnReport, EventReport
from lbnode.lab.churn.schedule import Kind, Planned, plan
from lbnode.lab.churn.stage import HeldError, Stage, Steps
from lbnode.lab.churn.watch_process import WatchProcess
from lbnode.lab.drill import await_nodes
from lbnode.lab.errors import LabError
from lbnode.lab.plan import CHURN_PORT, POOL, VIP, Host, Role, Store
from lbnode.lab.running import RunningLab, wait_until

TICK_S = 0.1
CHANCES_S = 1.0
MARGIN_S = 1.0
"""A node that is seen away, or silent, is taken to be so for this long before and after."""
ENDING_S = 75.0
TAIL_S = 20.0
"""So long after the last happening has begun flows are no longer replaced: what is still held waits for them alone."""
READY_S = 30.0
SEED_NODES, SEED_BACKENDS = 3, 3


@dataclass(frozen=True, slots=True)
class ChurnOrder:
    """What is to be drilled. `pace_s`: seconds from one happening to the next; `longest_s`: no flow lives longer;
    `kinds`: what may happen.
    """

    flows: int = 2000
    events: int = 60
    seed: int = 1
    pace_s: float = 3.0
    longest_s: float = LONGEST_S
    kinds: tuple[Kind, ...] = tuple(Kind)


class Audience(Protocol):
    """Who watches a churn drill: a screen, or nobody."""

    def tell(self, line: str) -> None:
        """What is being done."""

    def began(self, planned: Planned) -> None:
        """Something has begun to happen."""

    def ended(self, planned: Planned, took_s: float, failed: str) -> None:
        """It is over; `failed` says why it had no effect."""

    def saw(self, look: Look, going_on: Sequence[str]) -> None:
        """So it looks; a few times a second."""


@dataclass(slots=True)
class _Running:
    """A happening that is under way."""

    planned: Planned
    steps: Steps
    began: float


def run_churn(lab: RunningLab, order: ChurnOrder, audience: Audience) -> ChurnReport:
    """Drill the lab, which must be up. Raises LabError when it is too small or does not work as a lab must."""
    isolated = _isolated(lab)
    await_nodes(lab)
    with ExitStack() as stack:
        crowd = stack.enter_context(CrowdProcess(lab.plan.host("client").namespace))
        watch = stack.enter_context(WatchProcess(lab.plan.lab, POOL))
        stage = Stage(lab, crowd, isolated.name)
        drill = _Churn(stage, watch, order, audience)
        drill.prepare()
        stack.enter_context(_cut_off(lab, isolated))
        return drill.run()


class _Churn:
    """One run."""

    def __init__(self, stage: Stage, watch: WatchProcess, order: ChurnOrder, audience: Audience) -> None:
        self._stage = stage
        self._watch = watch
        self._order = order
        self._audience = audience
        self._memory = Memory(stage.lab)
        self._holds = Holds()
        self._log = Log(time.monotonic())
        self._ending = False

    def prepare(self) -> None:
        """Give the drill a VIP of its own, and wait until it is served."""
        self._audience.tell(f"VIP for the drill: {VIP}:{CHURN_PORT}")
        for _ in self._stage.tell(add_vip):
            time.sleep(TICK_S)
        wait_until(self._serves, READY_S, f"churn: {VIP}:{CHURN_PORT} to be served")

    def run(self) -> ChurnReport:
        order, crowd = self._order, self._stage.crowd
        self._audience.tell(f"opening {order.flows} connections")
        buckets = open_flows(self._stage.lab, crowd, order.flows, order.seed, order.longest_s)
        self._log.began = time.monotonic()
        self._happen(self._planned())
        self._end_flows()
        wait_until(self._all_ended, ENDING_S, "churn: the last flows to end")
        return self._report(buckets)

    def _report(self, buckets: Mapping[int, int]) -> ChurnReport:
        stage, order = self._stage, self._order
        self._memory.look([node.name for node in stage.lab.nodes])
        sightings = self._watch.save(stage.lab.directory("") / "churn.npz")
        account = Account(stage, self._log, self._memory, self._holds, sightings)
        return account.report(order.seed, order.flows, buckets, self._watch.look().backends)

    def _serves(self) -> bool:
        self._stage.look()
        status = self._stage.status
        return status is not None and is_served(status, len(self._stage.lab.nodes))

    def _planned(self) -> tuple[Planned, ...]:
        lab, order = self._stage.lab, self._order
        nodes = [node.name for node in lab.nodes]
        backends = [backend.name for backend in lab.plan.of(Role.BACKEND)]
        isolated = self._stage.isolated
        return plan(order.seed, order.events, order.pace_s, nodes, backends, isolated, order.kinds)

    def _happen(self, planned: Sequence[Planned]) -> None:
        """Let everything happen in its time; one whose host is still busy waits for it, in order."""
        waiting, running = list(planned), list[_Running]()
        began = time.monotonic()
        try:
            while waiting or running:
                self._look(running)
                busy = {target for each in running for target in each.planned.targets}
                for each in list(waiting):
                    is_due = time.monotonic() - self._log.began >= each.at_s
                    if is_due and not busy.intersection(each.targets):
                        waiting.remove(each)
                        running.append(self._begin(each))
                        began = time.monotonic()
                    busy.update(each.targets)
                if not waiting and time.monotonic() >= began + TAIL_S:
                    self._end_flows()
                running = [each for each in running if self._goes_on(each)]
                time.sleep(TICK_S)
        finally:
            for unfinished in running:
                unfinished.steps.close()

    def _end_flows(self) -> None:
        if not self._ending:
            self._ending = True
            self._audience.tell("the last exchanges: half-closed connections live to their end")
            self._stage.crowd.finish()

    def _look(self, running: Sequence[_Running]) -> None:
        stage = self._stage
        away, silent = set(stage.away), set(stage.silent)
        stage.look()
        self._count_chances()
        self._memory.look([node.name for node in stage.lab.nodes if node.name != stage.isolated][:2])
        for pool in stage.status.pools if stage.status is not None else ():
            if pool.name == POOL:
                self._holds.look(pool.held)
        now = time.monotonic()
        self._log.absences += [(node, now - MARGIN_S, now + MARGIN_S) for node in away]
        self._log.silences += [(node, now - MARGIN_S, now + MARGIN_S) for node in silent]
        self._audience.saw(stage.crowd.look(), [each.planned.what for each in running])

    def _begin(self, planned: Planned) -> _Running:
        self._audience.began(planned)
        steps = HAPPENINGS[planned.kind](self._stage, planned)
        return _Running(planned, steps, time.monotonic())

    def _goes_on(self, running: _Running) -> bool:
        """Let a happening take its next step; write down what came of it when it is over."""
        failed, held = "", False
        try:
            next(running.steps)
            return True
        except StopIteration:
            pass
        except HeldError:
            held = True
        except LabError as error:
            failed = str(error)
        took_s = time.monotonic() - running.began
        began_s = running.began - self._log.began
        self._log.events.append(EventReport(running.planned, began_s, took_s, 0, failed, held))
        self._audience.ended(running.planned, took_s, failed)
        return False

    def _count_chances(self) -> None:
        """Note how many packets the backends have passed on so far, once a second."""
        now = time.monotonic()
        if not self._log.chances or now >= self._log.chances[-1][0] + CHANCES_S:
            self._log.chances.append((now, sum(second_chances(self._watch.look().backends).values())))

    def _all_ended(self) -> bool:
        self._count_chances()
        look = self._stage.crowd.look()
        self._audience.saw(look, ["last exchanges"])
        return look.whole + sum(look.broken.values()) >= look.opened


def _isolated(lab: RunningLab) -> Host:
    """The node that is cut off from the fleet's memory: the last one that does not lead."""
    if lab.plan.store is not Store.ZOOKEEPER:
        raise LabError("drill churn: it needs a lab with ZooKeeper: lbctl lab up --store zookeeper")
    if len(lab.nodes) < SEED_NODES or lab.plan.backends < SEED_BACKENDS:
        raise LabError(
            f"drill churn: it needs {SEED_NODES} nodes and {SEED_BACKENDS} backends: "
            f"lbctl lab up --nodes {SEED_NODES} --backends {SEED_BACKENDS}"
        )
    with lab.client(lab.nodes[0].name) as client:
        leader = client.status().leader
    return next(node for node in reversed(lab.nodes) if node.name != leader)


@contextmanager
def _cut_off(lab: RunningLab, node: Host) -> Iterator[None]:
    network.isolate(lab.plan, node)
    try:
        yield
    finally:
        network.join(lab.plan, node)
