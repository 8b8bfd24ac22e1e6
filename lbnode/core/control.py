"""What an operator's request makes of the fleet: the records to write, or a refusal with a remedy.

Decides whether a request may be carried out on the fleet as it is seen now, and what the desired fleet and
the intents become. Writing them is somebody else's job, under the versions named in the plan. Does not decide
when a planned change takes effect: that is the leader's (`lbnode.core.leader`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lbnode.core import control_tunnels
from lbnode.core.control_backends import drain_backend, undrain_backend, weigh_backend
from lbnode.core.control_members import add_backend, remove_backend
from lbnode.core.control_nodes import drain_node, remove_node, undrain_node
from lbnode.core.control_pools import let_go
from lbnode.core.control_replace import replace_backend
from lbnode.core.difference import compare, fixed_changes
from lbnode.core.joining import drained, wanted_fleet
from lbnode.core.plan import Decision, Plan
from lbnode.core.vips import lost_flows
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.requests import (
    AddBackend,
    Apply,
    DrainBackend,
    DrainNode,
    Refusal,
    RefusalKind,
    RemoveBackend,
    RemoveNode,
    ReplaceBackend,
    Request,
    UndrainBackend,
    UndrainNode,
    WeighBackend,
)
from lbnode.model.view import FleetView


def decide(view: FleetView, request: Request) -> Decision:
    """Return what `request` makes of the fleet, or why it may not be carried out now."""
    if not view.connected:
        return Refusal(
            RefusalKind.UNAVAILABLE,
            "this node cannot reach the fleet's store, so nothing can be changed here now",
            "forwarding goes on; ask another node with --node, or bring the store back",
        )
    match request:
        case Apply():
            return apply(view, request)
        case DrainNode():
            return drain_node(view, request)
        case UndrainNode():
            return undrain_node(view, request)
        case RemoveNode():
            return remove_node(view, request)
        case AddBackend():
            return add_backend(view, request)
        case WeighBackend():
            return weigh_backend(view, request)
        case ReplaceBackend():
            return replace_backend(view, request)
        case DrainBackend():
            return drain_backend(view, request)
        case UndrainBackend():
            return undrain_backend(view, request)
        case RemoveBackend():
            return remove_backend(view, request)


def depends_on_liveness(request: Request) -> bool:
    """Whether it matters to `request` who is connected now, and what they count."""
    return not isinstance(request, Apply | WeighBackend | DrainBackend | UndrainBackend)


def apply(view: FleetView, request: Apply) -> Decision:
    """Make the desired fleet what the request says; drains stay, but for backends that leave."""
    old, new = view.desired or DesiredFleet(request.desired.name), request.desired
    refusal = _objection(view, request, old)
    if refusal is not None:
        return refusal
    after = wanted_fleet(replace(view, desired=new)) or new
    intents = prune(view.intents, after)
    if request.force:
        intents = let_go(view, intents, [pool.name for pool in new.pools])
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=None if view.desired == new else new,
        intents=None if intents == view.intents else intents,
        differences=compare(old, new),
        warnings=tuple(_warnings(view, wanted_fleet(view) or old, after)),
    )


def prune(intents: Intents, desired: DesiredFleet) -> Intents:
    """Return the intents without drains of backends that left the pool: coming back, they are not drained.

    `desired` has those who joined by themselves, too.
    """
    members = {pool.name: {member.backend for member in pool.members} for pool in desired.pools}
    kept = {
        pool: tuple(name for name in names if name in members.get(pool, ()))
        for pool, names in intents.drained_backends.items()
    }
    return replace(intents, drained_backends={pool: names for pool, names in kept.items() if names})


def _objection(view: FleetView, request: Apply, old: DesiredFleet) -> Refusal | None:
    new = request.desired
    name = view.identity.name if view.identity is not None else old.name
    if new.name != name:
        return Refusal(
            RefusalKind.INVALID,
            f"this fleet is called {name!r}, but the file is for {new.name!r}",
            "check the file's `fleet:`, or which fleet --node belongs to",
        )
    is_there = view.desired == new
    if not is_there and request.based_on is not None and request.based_on != view.desired_version:
        return Refusal(
            RefusalKind.CONFLICT,
            "somebody else changed the fleet since the differences were shown",
            "look at them again: lbctl apply -f FILE --dry-run",
        )
    refusal = fixed_changes(old, new) or control_tunnels.conflict(view, new)
    if refusal is None and not request.force:
        return control_tunnels.objection(view, old, new)
    return refusal


def _warnings(view: FleetView, old: DesiredFleet, new: DesiredFleet) -> Iterator[str]:
    members = {pool.name: {member.backend for member in pool.members} for pool in new.pools}
    for pool in old.pools:
        if pool.name not in members:
            continue
        for member in pool.members:
            if member.backend not in members[pool.name] and member.backend not in drained(view, pool.name):
                yield (
                    f"backend {member.backend} leaves pool {pool.name} without a drain: its flows break when "
                    f"it stops; first: lbctl backend drain {member.backend} --pool {pool.name} --wait"
                )
    yield from control_tunnels.warnings(old, new)
    for vip, what in lost_flows(old, new):
        yield f"vip {vip.key} {what}: flows that clients have there may break"
