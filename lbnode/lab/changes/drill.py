"""The drill of changes: one after the other, each asked of another node, each timed by the kernels' own maps.

Orders go the way of `lbctl`: gRPC over a node's socket, by a client that is open already, so that no start of a Python
process is in the figure. A process apart reads the kernels (`lbnode.lab.churn.watch`). The stages in between come from
the daemons' logs, afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Protocol

import psutil

from lbnode.lab.changes.report import ChangeReport, ChangesReport
from lbnode.lab.changes.sequence import Turn, turns
from lbnode.lab.changes.stages import Said, course, read
from lbnode.lab.churn.memory import Memory
from lbnode.lab.churn.sightings import OTHER_TABLE, Sightings
from lbnode.lab.churn.stage import Order, Promise
from lbnode.lab.churn.watch_process import WatchProcess
from lbnode.lab.drill import await_nodes
from lbnode.lab.errors import LabError
from lbnode.lab.plan import POOL, Role
from lbnode.lab.running import RunningLab
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError

LOOK_S = 0.02
"""Between two questions to the watch, which itself looks at the kernels every few milliseconds."""

PATIENCE_S = 20.0
"""A change that has not reached every kernel by then is lost."""

ASK_S = 0.5
"""A change that takes so long may be held: then the fleet is asked."""

CALM_S = 2.0
"""Before the first change: what the lab's building has set off comes to rest."""


@dataclass(frozen=True, slots=True)
class ChangesOrder:
    """What is to be drilled. `pause_s`: from one change's arrival in every kernel to the next order."""

    changes: int = 100
    pause_s: float = 0.5


class Audience(Protocol):
    """Who watches the drill: a screen, or nobody."""

    def done(self, turn: Turn, through: str, took_s: float) -> None:
        """A change has reached every kernel, or nobody waits for it any longer."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A change that was ordered: when, through whom, and when that node had answered (monotonic clock)."""

    turn: Turn
    order: Order
    through: str
    answered_at: float
    held: bool


def run_changes(lab: RunningLab, order: ChangesOrder, audience: Audience) -> ChangesReport:
    """Drill the lab, which must be up. Raises LabError when it does not work as a lab must."""
    await_nodes(lab)
    with ExitStack() as stack:
        watch = stack.enter_context(WatchProcess(lab.plan.lab, POOL))
        clients = {node.name: stack.enter_context(lab.client(node.name)) for node in lab.nodes}
        return _Drill(lab, watch, clients, audience).run(order)


class _Drill:
    """One run."""

    def __init__(
        self,
        lab: RunningLab,
        watch: WatchProcess,
        clients: Mapping[str, FleetClient],
        audience: Audience,
    ) -> None:
        self._lab = lab
        self._watch = watch
        self._clients = clients
        self._audience = audience

    def run(self, order: ChangesOrder) -> ChangesReport:
        fleet = next(iter(self._clients.values())).export()
        logs = {name: path.stat().st_size for name, path in self._logs().items()}
        time.sleep(CALM_S)
        before = self._cpu_s()
        asked = []
        turn_by_node = zip(turns(fleet, POOL, order.changes), cycle(self._clients), strict=False)
        for number, (turn, through) in enumerate(turn_by_node):
            asked.append(self._change(number, turn, through))
            time.sleep(order.pause_s)
        cpu_s = {kind: seconds - before[kind] for kind, seconds in self._cpu_s().items()}
        said = [line for name, path in self._logs().items() for line in _new_lines(name, path, logs[name])]
        return ChangesReport(
            nodes=len(self._clients),
            backends=self._lab.plan.backends,
            pause_s=order.pause_s,
            changes=tuple(self._judge(asked, said)),
            cpu_s=cpu_s,
        )

    def _change(self, number: int, turn: Turn, through: str) -> _Asked:
        """Give one order, and wait until it is in every kernel."""
        before = max(self._watch.epochs().values())
        at, at_clock = time.monotonic(), time.time()
        try:
            turn.order(self._clients[through])
        except RpcError as error:
            raise LabError(f"{turn.what} through {through}: {error}") from error
        answered_at = time.monotonic()
        held = False
        while not self._is_everywhere(before + 1) and time.monotonic() < at + PATIENCE_S:
            held = held or (time.monotonic() > at + ASK_S and self._is_held(through))
            time.sleep(LOOK_S)
        self._audience.done(turn, through, time.monotonic() - at)
        promise = Promise(number, turn.what, turn.backend, turn.state, turn.weight)
        return _Asked(turn, Order(promise, at, at_clock), through, answered_at, held)

    def _is_everywhere(self, epoch: int) -> bool:
        epochs = self._watch.epochs()
        return len(epochs) == len(self._clients) and all(number >= epoch for number in epochs.values())

    def _is_held(self, node: str) -> bool:
        return any(pool.held for pool in self._clients[node].status().pools if pool.name == POOL)

    # -- afterwards

    def _judge(self, asked: list[_Asked], said: list[Said]) -> Iterator[ChangeReport]:
        memory = Memory(self._lab)
        memory.look(list(self._clients))
        sightings = self._watch.save(self._lab.directory("") / "changes.npz")
        agents = [host.name for host in self._lab.plan.of(Role.BACKEND)]
        for each in asked:
            epoch = memory.epoch_of(each.order)
            kernels = {} if epoch is None else _kernels(epoch, sightings)
            is_everywhere = len(kernels) == len(self._clients)
            to_wall = each.order.at_clock - each.order.at
            went = course(
                epoch or 0,
                each.order.at_clock,
                each.answered_at + to_wall,
                said,
                agents,
                {node: at + to_wall for node, at in kernels.items()} if is_everywhere else {},
            )
            seconds = max(kernels.values()) - each.order.at if is_everywhere else None
            yield ChangeReport(each.turn.what, each.through, epoch, seconds, each.held, went)

    def _logs(self) -> dict[str, Path]:
        hosts = [*self._lab.nodes, *self._lab.plan.of(Role.BACKEND)]
        return {host.name: self._lab.directory(host.name) / "daemon.log" for host in hosts}

    def _cpu_s(self) -> dict[str, float]:
        """Processor seconds of the lab's daemons so far, by kind."""
        kinds = {host.name: host.role.value for host in self._lab.plan.hosts()}
        total = dict.fromkeys(kinds.values(), 0.0)
        for name, process in self._lab.record.processes.items():
            if name in kinds:
                times = psutil.Process(process.pid).cpu_times()
                total[kinds[name]] += times.user + times.system
        return {kind: seconds for kind, seconds in total.items() if kind != Role.CLIENT.value}


def _new_lines(host: str, path: Path, start: int) -> Iterator[Said]:
    """What a log says of epochs behind its first `start` bytes."""
    with path.open("rb") as log:
        log.seek(start)
        yield from read(host, log.read().decode(errors="replace").splitlines())


def _kernels(epoch: int, sightings: Sightings) -> dict[str, float]:
    """When each node's kernel had `epoch` or a later one (monotonic clock); a node that never had is absent."""
    found: dict[str, float] = {}
    for switch in sightings.switches:
        if switch.epoch % OTHER_TABLE >= epoch:
            found.setdefault(switch.node, switch.at)
    return found
