"""What happens while the store is away, in which order, and how one sees that it has happened.

    cut ── a change ── a node, then an agent restarts ── a backend dies ── (a node restarts) ── return ── it recovers

Each act begins at its part of the cut. With Scope.ONE the fleet goes on without those who are cut off: the change is
made, and its window, although over, stays open for their sake. With Scope.ALL there is nobody to lead: the change is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import yaml

from lbnode.lab import assembly, network
from lbnode.lab.errors import LabError
from lbnode.lab.outage.report import Scope
from lbnode.lab.outage.scene import Scene
from lbnode.lab.outage.truth import state_of
from lbnode.lab.plan import POOL, Host, Role
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError

FAILED, ACTIVE = BackendState.FAILED, BackendState.ACTIVE
HEAVIER = 2
LEAST_BACKENDS = 4


@dataclass(frozen=True, slots=True)
class Act:
    """Something to do at the part `at` (0 to 1) of the cut; `seen` says whether it has had its effect, and `why` why
    it has not.
    """

    what: str
    at: float
    do: Callable[[], None]
    seen: Callable[[], bool]
    why: Callable[[], str] = lambda: "no effect"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays what. `nodes` and `agent` are cut off (with Scope.ALL everybody is); all four backends differ."""

    nodes: tuple[Host, ...]
    agent: Host
    heavier: Host
    dying: Host


def cast(scene_nodes: list[Host], backends: list[Host], leader: str | None, scope: Scope) -> Cast:
    """Share out the parts. Raises LabError when the lab is too small."""
    if len(scene_nodes) < 2 or len(backends) < LEAST_BACKENDS:
        raise LabError(
            f"drill store: it needs 2 nodes and {LEAST_BACKENDS} backends: "
            f"lbctl lab up --nodes 2 --backends {LEAST_BACKENDS}"
        )
    last = next(node for node in reversed(scene_nodes) if node.name != leader)
    nodes = (last,) if scope is Scope.ONE else tuple(scene_nodes)
    return Cast(nodes, agent=backends[0], heavier=backends[1], dying=backends[2])


def while_away(scene: Scene, played: Cast, scope: Scope) -> Iterator[Act]:
    """Yield what happens from the cut until just before the return."""
    first, last = played.nodes[0], played.nodes[-1]
    yield Act("cut", 0.0, lambda: cut(scene, played, scope), scene.is_local)
    if scope is Scope.ONE:
        yield from _change_elsewhere(scene, played, 0.05)
    yield _restart_node(scene, first, 0.15)
    yield _restart_agent(scene, played.agent, 0.25)
    for node in played.nodes:
        yield Act(
            f"ask {node.name} for a change: refused", 0.35, lambda: None, partial(_refuses, scene, node.name)
        )
    yield Act(
        f"{played.dying.name} dies",
        0.55,
        lambda: scene.fail(played.dying),
        partial(_all_say, scene, played.dying, FAILED),
    )
    if scope is Scope.ALL:
        yield _restart_node(scene, last, 0.75)
    else:
        yield Act(
            "the window is over and stays open",
            0.95,
            lambda: None,
            partial(_window_open, scene, played),
            partial(_windows, scene),
        )


def afterwards(scene: Scene, played: Cast, scope: Scope) -> Iterator[Act]:
    """Yield the return, and the recovery of the backend that died."""

    def agrees() -> bool:
        return not scene.dissent() and _all_say(scene, played.dying, FAILED)

    def recovered() -> bool:
        return not scene.dissent() and _all_say(scene, played.dying, ACTIVE)

    yield Act("return", 1.0, lambda: join(scene, played, scope), agrees)
    yield Act(f"{played.dying.name} recovers", 1.0, lambda: _restart_server(scene, played.dying), recovered)


def cut(scene: Scene, played: Cast, scope: Scope) -> None:
    """Let nothing through between the store and those who are to be cut off: nobody is told."""
    plan = scene.lab.plan
    scene.is_cut = True
    if scope is Scope.ALL:
        network.unplug(plan, plan.of(Role.STORE)[0])
        return
    for host in (*played.nodes, played.agent):
        network.isolate(plan, host)


def join(scene: Scene, played: Cast, scope: Scope) -> None:
    """Undo `cut`, if that has not been done."""
    plan = scene.lab.plan
    if not scene.is_cut:
        return
    scene.is_cut = False
    if scope is Scope.ALL:
        network.plug(plan, plan.of(Role.STORE)[0])
        return
    for host in (*played.nodes, played.agent):
        network.join(plan, host)


def _restart_node(scene: Scene, node: Host, at: float) -> Act:
    def restart() -> None:
        scene.lab.record = assembly.restart_node(scene.lab.record, node)
        scene.statuses.pop(node.name, None)

    def carries() -> bool:
        return scene.is_local() and node.name in scene.lab.next_hops()

    return Act(f"restart {node.name}", at, restart, carries)


def _restart_agent(scene: Scene, backend: Host, at: float) -> Act:
    before = scene.contact(backend.name)

    def restart() -> None:
        scene.lab.record = assembly.restart_agent(scene.lab.record, backend)

    def goes_by_its_copy() -> bool:
        return scene.contact(backend.name) != before and scene.is_local()

    return Act(f"restart the agent of {backend.name}", at, restart, goes_by_its_copy)


def _restart_server(scene: Scene, backend: Host) -> None:
    scene.lab.record = assembly.start_server(scene.lab.record, backend)


def _change_elsewhere(scene: Scene, played: Cast, at: float) -> Iterator[Act]:
    """A weight changes by order of a node that has the store; those cut off do not hear of it."""
    elsewhere = next(node.name for node in scene.lab.nodes if node not in played.nodes)

    def order() -> None:
        pools = scene.ask(elsewhere, lambda client: client.status()).pools
        scene.left_behind = max((pool.current or 0 for pool in pools), default=0)
        scene.ask(elsewhere, lambda client: weigh(client, played.heavier, HEAVIER))

    def is_known_only_there() -> bool:
        weights = {node: weight_of(scene, node, played.heavier) for node in scene.statuses}
        return all((weight == HEAVIER) != (node in scene.nodes) for node, weight in weights.items())

    yield Act(f"{played.heavier.name} weighs {HEAVIER}", at, order, is_known_only_there)


def weigh(client: FleetClient, backend: Host, weight: int, **pool_settings: float) -> None:
    """Change a backend's weight, and settings of its pool, by applying the whole fleet.yaml."""
    fleet = yaml.safe_load(client.export())
    pool = next(each for each in fleet["pools"] if each["name"] == POOL)
    pool.update(pool_settings)
    members = [{"name": each} if isinstance(each, str) else each for each in pool["backends"]]
    pool["backends"] = [
        {**each, "weight": weight} if each["name"] == backend.name else each for each in members
    ]
    client.apply(yaml.safe_dump(fleet, sort_keys=False))


def weight_of(scene: Scene, node: str, backend: Host) -> int | None:
    """Return a backend's weight as a node said it at the last look; None when it said nothing of it."""
    said = scene.statuses.get(node)
    slots = (slot for pool in (said.pools if said is not None else ()) for slot in pool.slots)
    return next((slot.weight for slot in slots if slot.backend == backend.name), None)


def _all_say(scene: Scene, backend: Host, state: BackendState) -> bool:
    """True when every node answered, and sees the backend in that state."""
    answers = [state_of(status, backend.name) for status in scene.statuses.values()]
    return len(answers) == len(scene.lab.nodes) and set(answers) == {state}


def _refuses(scene: Scene, node: str) -> bool:
    order = DrainBackend(BackendName(scene.lab.plan.of(Role.BACKEND)[-1].name))
    try:
        scene.ask(node, lambda client: client.drain_backend(order))
    except RpcError as error:
        return "store" in str(error)
    return False


def _window_open(scene: Scene, played: Cast) -> bool:
    """True when who has the store still remembers the owners by which the others go.

    Theirs may be an older epoch than that: one that only closes a window has the same owners as the one before it.
    """
    names = {node.name for node in played.nodes}
    pools = [pool for node, said in scene.statuses.items() if node not in names for pool in said.pools]
    return bool(pools) and all(
        pool.window_from is not None and pool.window_from <= scene.left_behind for pool in pools
    )


def _windows(scene: Scene) -> str:
    """By which epochs each node says that it goes."""
    told = [
        f"{node} goes by epoch {pool.current} of {pool.name}, its window from epoch {pool.window_from}"
        for node, said in sorted(scene.statuses.items())
        for pool in said.pools
    ]
    return "; ".join([f"the fleet went on from epoch {scene.left_behind}", *told])
