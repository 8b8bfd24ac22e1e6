"""What can happen, one function a kind: it acts on the stage, waits for the effect, and undoes it.

Each waits until the fleet has visibly taken note: a drill whose events have no effect proves nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from lbnode.lab import assembly
from lbnode.lab.assembly import server_of
from lbnode.lab.churn import node_happenings as nodes
from lbnode.lab.churn.judgement import Failure
from lbnode.lab.churn.schedule import Kind, Planned
from lbnode.lab.churn.stage import Promise, Stage, Steps, pause, take_effect, until
from lbnode.lab.plan import HTTP_PORT, POOL, Host
from lbnode.lab.shell import call_inside
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend, UndrainBackend

NOTICED_S = 20.0
EMPTY_S = 75.0

Happening = Callable[[Stage, Planned], Steps]
ACTIVE, DRAINING, FAILED = BackendState.ACTIVE, BackendState.DRAINING, BackendState.FAILED


def add_backend(stage: Stage, planned: Planned) -> Steps:
    """A new machine joins the pool."""
    (name,) = planned.targets
    stage.build_backend(name)

    def change(fleet: dict[str, Any]) -> None:
        _introduce(stage, fleet, name)
        _members(fleet).append({"name": name})

    yield from stage.edit(change, Promise(planned.number, planned.what, name, ACTIVE))
    yield from take_effect(stage, lambda: stage.is_in(name, ACTIVE), name, f"{name} to be active")


def drain_backend(stage: Stage, planned: Planned) -> Steps:
    """A backend gets no new flows for a while."""
    (name,) = planned.targets
    yield from _drain(stage, planned, name)
    yield from pause(planned.hold_s)
    yield from _undrain(stage, planned, name)


def replace_backend(stage: Stage, planned: Planned) -> Steps:
    """A new machine takes over the slot of an old one, which keeps its flows until they end."""
    old, new = planned.targets
    stage.build_backend(new)
    yield from until(lambda: stage.slot(old) is not None, NOTICED_S, f"find the slot of {old}")

    def change(fleet: dict[str, Any]) -> None:
        slot = stage.slot(old)
        if slot is not None:
            _introduce(stage, fleet, new)
            members = [member for member in _members(fleet) if member["name"] not in (old, new)]
            members.append({"name": new, "slot": int(slot.number), "weight": slot.weight})
            _pool(fleet)["backends"] = members

    yield from stage.edit(change, Promise(planned.number, planned.what, new, ACTIVE))
    yield from take_effect(stage, lambda: stage.is_in(new, ACTIVE), new, f"{new} to be active")


def change_weight(stage: Stage, planned: Planned) -> Steps:
    """A backend gets another share of the table, for good."""
    (name,) = planned.targets

    def change(fleet: dict[str, Any]) -> None:
        for member in _members(fleet):
            if member["name"] == name:
                member["weight"] = planned.weight

    def has_weight() -> bool:
        slot = stage.slot(name)
        return slot is not None and slot.weight == planned.weight

    yield from stage.edit(change, Promise(planned.number, planned.what, name, weight=planned.weight))
    yield from take_effect(stage, has_weight, name, f"the weight of {name} to be {planned.weight}")


def roll(stage: Stage, planned: Planned) -> Steps:
    """One backend after the other is drained until its last flow has ended, restarted, and undrained."""
    for name in planned.targets:
        yield from _drain(stage, planned, name)
        yield from until(partial(_is_empty, stage, name), EMPTY_S, f"{name} to be empty")
        stage.lab.record = assembly.restart_server(stage.lab.record, stage.host(name))
        yield from until(partial(_serves, stage.host(name)), NOTICED_S, f"{name} to serve")
        yield from _undrain(stage, planned, name)


def kill_agent(stage: Stage, planned: Planned) -> Steps:
    """The agent gets SIGKILL, and later another one takes over, as in an upgrade: its kernel goes on."""
    (name,) = planned.targets
    stage.kill(name)
    yield from pause(planned.hold_s)
    stage.lab.record = assembly.start_agent(stage.lab.record, stage.host(name))

    yield from until(lambda: stage.has_agent(name), NOTICED_S, f"{name} to be connected")


def fail_backend(stage: Stage, planned: Planned) -> Steps:
    """A backend's server gets SIGKILL: its flows cannot live on; they are named before."""
    (name,) = planned.targets
    server = server_of(stage.host(name))
    named, at = stage.crowd.named(name), time.monotonic()
    stage.kill(server)
    stage.failures.append(Failure(name, at, named))
    stage.note(Promise(planned.number, planned.what, name, FAILED), at)
    yield from until(lambda: stage.is_in(name, FAILED), NOTICED_S, "health to notice")
    yield from pause(planned.hold_s)
    stage.lab.record = assembly.start_server(stage.lab.record, stage.host(name))
    yield from take_effect(stage, lambda: stage.is_in(name, ACTIVE), name, f"{name} to recover")


HAPPENINGS: dict[Kind, Happening] = {
    Kind.ADD_NODE: nodes.add_node,
    Kind.DRAIN_NODE: nodes.drain_node,
    Kind.KILL_NODE: nodes.kill_node,
    Kind.CUT_NODE: nodes.cut_node,
    Kind.OLD_NODE: nodes.start_from_old_epoch,
    Kind.KILL_LEADER: nodes.kill_leader,
    Kind.RESTART_STORE: nodes.restart_store,
    Kind.ADD_BACKEND: add_backend,
    Kind.DRAIN_BACKEND: drain_backend,
    Kind.REPLACE_BACKEND: replace_backend,
    Kind.WEIGHT: change_weight,
    Kind.ROLL: roll,
    Kind.KILL_AGENT: kill_agent,
    Kind.FAIL_BACKEND: fail_backend,
}


def _drain(stage: Stage, planned: Planned, name: str) -> Steps:
    order = DrainBackend(BackendName(name))
    promise = Promise(planned.number, f"{planned.number} drain {name}", name, DRAINING)
    yield from stage.tell(lambda client: client.drain_backend(order), promise)
    yield from take_effect(stage, lambda: stage.is_in(name, DRAINING), name, f"{name} to be draining")


def _undrain(stage: Stage, planned: Planned, name: str) -> Steps:
    order = UndrainBackend(BackendName(name))
    promise = Promise(planned.number, f"{planned.number} undrain {name}", name, ACTIVE)
    yield from stage.tell(lambda client: client.undrain_backend(order), promise)
    yield from take_effect(stage, lambda: stage.is_in(name, ACTIVE), name, f"{name} to be active")


def _is_empty(stage: Stage, backend: str) -> bool:
    """True when no connection is answered by the backend any more."""
    return not stage.crowd.named(backend)


def _serves(backend: Host) -> bool:
    """True when the backend's server accepts connections."""

    def connect() -> None:
        socket.create_connection((str(backend.address), HTTP_PORT), timeout=0.3).close()

    try:
        call_inside(backend.namespace, connect)
    except OSError:
        return False
    return True


def _introduce(stage: Stage, fleet: dict[str, Any], name: str) -> None:
    """Give the fleet a backend that it does not know yet."""
    if all(backend["name"] != name for backend in fleet["backends"]):
        fleet["backends"].append({"name": name, "address": str(stage.host(name).address)})


def _pool(fleet: dict[str, Any]) -> dict[str, Any]:
    pools: list[dict[str, Any]] = fleet["pools"]
    return next(pool for pool in pools if pool["name"] == POOL)


def _members(fleet: dict[str, Any]) -> list[dict[str, Any]]:
    """The pool's members, each as a mapping, in place."""
    pool = _pool(fleet)
    pool["backends"] = [
        {"name": member} if isinstance(member, str) else member for member in pool["backends"]
    ]
    members: list[dict[str, Any]] = pool["backends"]
    return members
