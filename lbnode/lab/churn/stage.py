"""What happenings act upon: the lab, its fleet and the crowd, looked at a few times a second.

A happening is a generator: it acts, and yields wherever it has to wait, so that many of them go on side by
side in one thread. `until`, `pause`, `Stage.tell` and `Stage.edit` are the waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from lbnode.lab import assembly, configs, processes
from lbnode.lab.churn.crowd_process import CrowdProcess
from lbnode.lab.churn.judgement import Failure
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.plan import POOL, Host, Role
from lbnode.lab.running import RunningLab
from lbnode.model.epoch import BackendState
from lbnode.model.members import View
from lbnode.model.status import AgentState, FleetStatus, SlotStatus
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError

Steps = Generator[None, None, None]
"""Each `next` is one try; it ends when what was waited for has come."""
T = TypeVar("T")

LOOK_S = 0.4
RPC_S = 3.0
TAKES_EFFECT_S = 75.0
"""A planned change may be held while flows depend on it: flows live for up to 60 s."""
TELL_S = 40.0
"""The fleet's memory may be away for some seconds: orders are repeated this long."""


class HeldError(LabError):
    """The fleet holds a planned change for longer than anybody wants to wait: no failure of the fleet's."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What an order must lead to: an epoch in which `backend` is in `state`, with `weight` (None: any).

    `number` is that of the happening.
    """

    number: int
    what: str
    backend: str
    state: BackendState | None = None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A promise, and when the fleet was told: the same moment on the monotonic and on the wall clock."""

    promise: Promise
    at: float
    at_clock: float


class Stage:
    """The lab as happenings see it. `isolated` is the node that must not be asked: it knows nothing new."""

    def __init__(self, lab: RunningLab, crowd: CrowdProcess, isolated: str) -> None:
        self.lab = lab
        self.crowd = crowd
        self.isolated = isolated
        self.away: set[str] = set()
        """Nodes whose daemon does not run, or cannot be reached."""
        self.silent: set[str] = set()
        """Those among them that forward nothing."""
        self.orders: list[Order] = []
        self.failures: list[Failure] = []
        self._status: FleetStatus | None = None
        self._hops: set[str] = set()
        self._looked_at = float("-inf")
        self._said_at = 0.0

    def look(self) -> None:
        """Look at fleet and router, unless that was done just now; an old look stays when nobody answers."""
        if time.monotonic() < self._looked_at + LOOK_S:
            return
        self._hops = self.lab.next_hops()
        with suppress(RpcError):
            self._status = self._ask(lambda client: client.status())
        self._looked_at = time.monotonic()

    @property
    def status(self) -> FleetStatus | None:
        """The fleet as it was at the last look; None before anybody answered."""
        return self._status

    def carries(self, node: str) -> bool:
        """True when the router sends packets to the node."""
        return node in self._hops

    def slot(self, backend: str) -> SlotStatus | None:
        """The slot that the backend occupies."""
        pools = self._status.pools if self._status is not None else ()
        slots = (slot for pool in pools if pool.name == POOL for slot in pool.slots)
        return next((slot for slot in slots if slot.backend == backend), None)

    def is_in(self, backend: str, state: BackendState) -> bool:
        """True when the fleet's current epoch has the backend in `state`."""
        slot = self.slot(backend)
        return slot is not None and slot.state is state

    def has_agent(self, backend: str) -> bool:
        """True when the backend's agent is connected, or the backend has left the pool and holds nothing any more."""
        known = self._status.pools if self._status is not None else ()
        pools = [pool for pool in known if pool.name == POOL]
        seated = [slot.agent for pool in pools for slot in pool.slots if slot.backend == backend]
        leaving = [former.agent for pool in pools for former in pool.former if former.backend == backend]
        return bool(pools) and all(agent is AgentState.CONNECTED for agent in (*seated, *leaving))

    def is_connected(self, node: str) -> bool:
        """True when the node's daemon is in contact with the fleet's memory and announces."""
        nodes = self._status.nodes if self._status is not None else ()
        return any(
            each.name == node and each.connected and bool(each.announced or each.drained) for each in nodes
        )

    @property
    def current_epoch(self) -> int:
        """The number of the pool's current epoch."""
        pools = self._status.pools if self._status is not None else ()
        return next((pool.current or 0 for pool in pools if pool.name == POOL), 0)

    @contextmanager
    def without(self, node: str, *, forwards: bool = True) -> Iterator[None]:
        """Ask others while a node's daemon does not run or cannot be reached; its kernel may go on meanwhile."""
        self.away.add(node)
        if not forwards:
            self.silent.add(node)
        try:
            yield
        finally:
            self.away.discard(node)
            self.silent.discard(node)

    def is_held(self, backend: str) -> bool:
        """True when the fleet holds a change of the backend for the sake of living flows."""
        pools = self._status.pools if self._status is not None else ()
        return any(backend in held.what.split() for pool in pools for held in pool.held)

    def leader(self) -> str | None:
        """The node that leads the fleet."""
        return self._status.leader if self._status is not None else None

    def tell(self, order: Callable[[FleetClient], object], promise: Promise | None = None) -> Steps:
        """Give the fleet an order, again and again until a node takes it. Raises LabError with the last refusal."""
        deadline = time.monotonic() + TELL_S
        while True:
            self._said_at = time.monotonic()
            try:
                self._ask(order)
                break
            except RpcError as error:
                if time.monotonic() > deadline:
                    raise LabError(str(error)) from error
            yield
        if promise is not None:
            self.note(promise, self._said_at)
        self._looked_at = float("-inf")

    def edit(self, change: Callable[[dict[str, Any]], None], promise: Promise) -> Steps:
        """Change the fleet.yaml of the fleet: `change` is given its data, and changes it in place."""

        def order(client: FleetClient) -> None:
            data = yaml.safe_load(client.export())
            change(data)
            self._said_at = time.monotonic()
            client.apply(yaml.safe_dump(data, sort_keys=False))

        yield from self.tell(order, promise)

    def note(self, promise: Promise, at: float) -> None:
        """Note that since `at` the fleet has reason to do what is promised."""
        self.orders.append(Order(promise, at, time.time() - (time.monotonic() - at)))

    def kill(self, name: str) -> None:
        """SIGKILL a recorded process."""
        processes.kill(self.lab.record.processes[name])

    def host(self, name: str) -> Host:
        """The host of that name."""
        return self.lab.plan.host(name)

    def build_backend(self, name: str) -> None:
        """Make sure that a backend of that name exists: they are built in the order of their numbers."""
        while name not in {host.name for host in self.lab.plan.of(Role.BACKEND)}:
            self.lab.record = assembly.add_backend(self.lab.record)

    def _ask(self, question: Callable[[FleetClient], T]) -> T:
        """Ask the first node that answers. Raises the last one's RpcError."""
        failed: RpcError | None = None
        for node in self.lab.nodes:
            if node.name in self.away or node.name == self.isolated:
                continue
            address = configs.rpc_address(self.lab.directory(node.name))
            try:
                with FleetClient(address, RPC_S) as client:
                    return _checked(question(client))
            except RpcError as error:
                failed = error
        raise failed or RpcError("ask the fleet: no node is up")


def _checked(answer: T) -> T:
    """A node without contact to the fleet's memory tells old news."""
    if isinstance(answer, FleetStatus) and answer.view is not View.FLEET:
        raise RpcError(f"{answer.answered_by}: local view")
    return answer


def until(true: Callable[[], bool], within_s: float, what: str) -> Steps:
    """Wait until `true()` holds. Raises OverdueError naming `what`."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise OverdueError(f"{what}: not within {within_s:g} s")
        yield


def take_effect(stage: Stage, true: Callable[[], bool], backend: str, what: str) -> Steps:
    """Wait until a planned change of the backend has taken effect. Raises HeldError or OverdueError."""
    try:
        yield from until(true, TAKES_EFFECT_S, what)
    except OverdueError:
        if stage.is_held(backend):
            raise HeldError(f"{what}: held for more than {TAKES_EFFECT_S:g} s") from None
        raise


def pause(seconds: float) -> Steps:
    """Wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
