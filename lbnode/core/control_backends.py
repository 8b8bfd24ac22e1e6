"""Operators' verbs on backends that stay where they are: drain, undrain, weigh; in one pool, or in all that have it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from lbnode.core.control_pools import (
    active_in,
    drained_in,
    joined_objection,
    let_go,
    pools_of,
    without_drain,
)
from lbnode.core.plan import Decision, Plan
from lbnode.core.rules import check_weight
from lbnode.model.fleet import Intents, Pool, PoolMember
from lbnode.model.ids import BackendName
from lbnode.model.requests import (
    Change,
    Difference,
    DrainBackend,
    Refusal,
    RefusalKind,
    UndrainBackend,
    WeighBackend,
)
from lbnode.model.view import FleetView


def drain_backend(view: FleetView, request: DrainBackend) -> Decision:
    """Give a backend no new flows, unless nobody would be left to take them."""
    pools = pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal):
        return pools
    new = [pool for pool in pools if request.name not in drained_in(view, pool.name)]
    for pool in new:
        if not request.force and active_in(view, pool) <= {request.name}:
            return Refusal(
                RefusalKind.STATE,
                f"{request.name} is the last active backend of pool {pool.name}: nobody would take new flows",
                "add or undrain another backend first, or repeat with --force",
            )
    drained = dict(view.intents.drained_backends)
    for pool in new:
        drained[pool.name] = (*drained.get(pool.name, ()), request.name)
    intents = replace(view.intents, drained_backends=drained)
    differences = _drain_differences(request.name, new, "active → draining")
    return _plan(view, intents, differences, pools if request.force else ())


def undrain_backend(view: FleetView, request: UndrainBackend) -> Decision:
    """Give a drained backend new flows again."""
    pools = pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal):
        return pools
    back = [pool for pool in pools if request.name in drained_in(view, pool.name)]
    intents = without_drain(view.intents, request.name, {pool.name for pool in back})
    differences = _drain_differences(request.name, back, "draining → active")
    return _plan(view, intents, differences, pools if request.force else ())


def weigh_backend(view: FleetView, request: WeighBackend) -> Decision:
    """Give a backend another weight."""
    problem = check_weight(request.weight)
    if problem is not None:
        reason, _, remedy = f"weight {request.weight} {problem}".partition("; ")
        return Refusal(RefusalKind.INVALID, reason, remedy)
    pools = pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal) or view.desired is None:
        return pools if isinstance(pools, Refusal) else Plan(view.desired_version, view.intents_version)
    joined = joined_objection(view, request.name, pools, "set `weight` in its own settings and restart it")
    if joined is not None:
        return joined
    names = {pool.name for pool in pools}
    weighed = tuple(_weigh(pool, request) if pool.name in names else pool for pool in view.desired.pools)
    desired = replace(view.desired, pools=weighed)
    differences = tuple(
        Difference(
            Change.CHANGED,
            f"pool {pool.name}, backend {request.name}",
            f"weight {member.weight} → {request.weight}",
        )
        for pool in pools
        for member in pool.members
        if member.backend == request.name and member.weight != request.weight
    )
    plan = _plan(view, view.intents, differences, pools if request.force else ())
    return replace(plan, desired=None if desired == view.desired else desired)


def _weigh(pool: Pool, request: WeighBackend) -> Pool:
    def weigh(member: PoolMember) -> PoolMember:
        return replace(member, weight=request.weight) if member.backend == request.name else member

    return replace(pool, members=tuple(weigh(member) for member in pool.members))


def _drain_differences(name: BackendName, pools: Collection[Pool], change: str) -> tuple[Difference, ...]:
    return tuple(Difference(Change.CHANGED, f"pool {pool.name}, backend {name}", change) for pool in pools)


def _plan(
    view: FleetView, intents: Intents, differences: tuple[Difference, ...], forced: Collection[Pool]
) -> Plan:
    if forced:
        intents = let_go(view, intents, [pool.name for pool in forced])
        differences = differences or tuple(
            Difference(Change.CHANGED, f"pool {pool.name}", "what is held goes ahead") for pool in forced
        )
    return Plan(
        view.desired_version,
        view.intents_version,
        intents=None if intents == view.intents else intents,
        differences=differences,
    )
