"""Operators' verbs on backends: add, drain, undrain, remove; in one pool, or in all that have it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from lbnode.core.plan import Decision, Plan, refuse_unknown
from lbnode.core.rules import check_address, check_name, check_weight
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import MAX_SLOTS, Backend, DesiredFleet, Intents, Pool, PoolMember
from lbnode.model.ids import BackendName, IPAddress, PoolName
from lbnode.model.requests import (
    AddBackend,
    Change,
    Difference,
    DrainBackend,
    Refusal,
    RefusalKind,
    RemoveBackend,
    UndrainBackend,
)
from lbnode.model.view import FleetView

NO_FLEET = Refusal(
    RefusalKind.STATE, "nothing has been applied to this fleet yet", "first: lbctl apply -f fleet.yaml"
)


def add_backend(view: FleetView, request: AddBackend) -> Decision:
    """Put a backend into a pool, and into the fleet when it is new there."""
    desired = view.desired
    if desired is None:
        return NO_FLEET
    refusal = _addition_objection(desired, request)
    if refusal is not None:
        return refusal
    is_new = request.name not in {backend.name for backend in desired.backends}
    backends = desired.backends
    differences: list[Difference] = []
    if is_new and request.address is not None:
        backends = (*backends, Backend(request.name, request.address))
        differences.append(Difference(Change.ADDED, f"backend {request.name}", str(request.address)))
    member = PoolMember(request.name, request.weight)
    pools = tuple(
        replace(pool, members=(*pool.members, member)) if pool.name == request.pool else pool
        for pool in desired.pools
    )
    where = f"pool {request.pool}, backend {request.name}"
    differences.append(Difference(Change.ADDED, where, f"weight {request.weight}"))
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=replace(desired, backends=backends, pools=pools),
        differences=tuple(differences),
    )


def drain_backend(view: FleetView, request: DrainBackend) -> Decision:
    """Give a backend no new flows, unless nobody would be left to take them."""
    pools = _pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal):
        return pools
    new = [pool for pool in pools if request.name not in _drained(view, pool.name)]
    for pool in new:
        if not request.force and _active(view, pool) <= {request.name}:
            return Refusal(
                RefusalKind.STATE,
                f"{request.name} is the last active backend of pool {pool.name}: nobody would take new flows",
                "add or undrain another backend first, or repeat with --force",
            )
    drained = dict(view.intents.drained_backends)
    for pool in new:
        drained[pool.name] = (*drained.get(pool.name, ()), request.name)
    return _drain_plan(view, request.name, new, drained, "active → draining")


def undrain_backend(view: FleetView, request: UndrainBackend) -> Decision:
    """Give a drained backend new flows again."""
    pools = _pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal):
        return pools
    back = [pool for pool in pools if request.name in _drained(view, pool.name)]
    drained = _without(view.intents, request.name, {pool.name for pool in back}).drained_backends
    return _drain_plan(view, request.name, back, drained, "draining → active")


def remove_backend(view: FleetView, request: RemoveBackend) -> Decision:
    """Take a drained backend out of one pool, or out of all its pools and the fleet."""
    desired = view.desired
    pools = _pools_of(view, request.name, request.pool, none_is_fine=request.pool is None)
    if desired is None or isinstance(pools, Refusal):
        return pools if isinstance(pools, Refusal) else NO_FLEET
    for pool in pools:
        refusal = _removal_objection(view, request, pool)
        if refusal is not None:
            return refusal
    names = {pool.name for pool in pools}
    differences = [
        Difference(Change.REMOVED, f"pool {name}, backend {request.name}") for name in sorted(names)
    ]
    kept = desired.backends
    if request.pool is None:
        kept = tuple(backend for backend in kept if backend.name != request.name)
        differences.append(Difference(Change.REMOVED, f"backend {request.name}"))
    intents = _without(view.intents, request.name, names)
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=replace(desired, backends=kept, pools=_pools_without(desired, request.name, names)),
        intents=None if intents == view.intents else intents,
        differences=tuple(differences),
    )


def _addition_objection(desired: DesiredFleet, request: AddBackend) -> Refusal | None:
    pools = {pool.name: pool for pool in desired.pools}
    if request.pool not in pools:
        return refuse_unknown("pool", request.pool, pools)
    for what, problem in (("name", check_name(request.name)), ("weight", check_weight(request.weight))):
        if problem is not None:
            return _invalid(f"{what} {getattr(request, what)} {problem}")
    pool = pools[request.pool]
    if request.name in {member.backend for member in pool.members}:
        return Refusal(
            RefusalKind.STATE,
            f"{request.name} is in pool {request.pool} already",
            "to change its weight edit fleet.yaml and apply it",
        )
    if len(pool.members) >= MAX_SLOTS:
        return Refusal(RefusalKind.STATE, f"pool {request.pool} has {MAX_SLOTS} backends, which is the most")
    known = {backend.name: backend.address for backend in desired.backends}
    return _address_objection(desired, request, known)


def _address_objection(
    desired: DesiredFleet, request: AddBackend, known: dict[BackendName, IPAddress]
) -> Refusal | None:
    address, name = request.address, request.name
    if address is None or name in known:
        if name not in known:
            return Refusal(RefusalKind.INVALID, f"{name} is new to the fleet", "give its address, too")
        if address is not None and address != known[name]:
            return Refusal(
                RefusalKind.INVALID,
                f"{name} is at {known[name]}, not at {address}",
                "leave the address out, or use another name",
            )
        return None
    problem = check_address(address)
    if problem is not None:
        return _invalid(f"address {address} {problem}")
    owners = {other: f"that of backend {backend}" for backend, other in known.items()}
    owners |= {vip.address: "a VIP" for vip in desired.vips}
    if address in owners:
        return Refusal(RefusalKind.INVALID, f"address {address} is {owners[address]}", "use another address")
    return None


def _removal_objection(view: FleetView, request: RemoveBackend, pool: Pool) -> Refusal | None:
    name = request.name
    if len(pool.members) == 1:
        return Refusal(
            RefusalKind.STATE,
            f"{name} is the only backend of pool {pool.name}, and a pool has at least one",
            "add another first, or take the pool and its VIPs out of fleet.yaml and apply it",
        )
    if request.force or (name in _drained(view, pool.name) and not _takes_flows(view, pool, name)):
        return None
    if name in _drained(view, pool.name):
        return Refusal(
            RefusalKind.STATE,
            f"the drain of {name} in pool {pool.name} is not in the current epoch yet",
            "try again in a moment, or repeat with --force: its flows may break",
        )
    return Refusal(
        RefusalKind.STATE,
        f"{name} is not drained in pool {pool.name}",
        f"first: lbctl backend drain {name}; or repeat with --force: its flows may break",
    )


def _pools_of(
    view: FleetView, name: BackendName, pool: PoolName | None, *, none_is_fine: bool = False
) -> list[Pool] | Refusal:
    """Return the pools that a verb is about: the named one, or all that have the backend."""
    if view.desired is None:
        return NO_FLEET
    backends = {backend.name for backend in view.desired.backends}
    if name not in backends:
        return refuse_unknown("backend", name, backends)
    pools = {pool.name: pool for pool in view.desired.pools}
    if pool is not None and pool not in pools:
        return refuse_unknown("pool", pool, pools)
    having = [one for one in pools.values() if name in {member.backend for member in one.members}]
    if pool is not None and pools[pool] not in having:
        where = ", ".join(one.name for one in having) or "no pool"
        return Refusal(RefusalKind.STATE, f"{name} is not in pool {pool}", f"it is in: {where}")
    if not having and not none_is_fine:
        return Refusal(RefusalKind.STATE, f"{name} is in no pool", f"lbctl backend add {name} --pool POOL")
    return [pools[pool]] if pool is not None else having


def _active(view: FleetView, pool: Pool) -> set[BackendName]:
    """The backends that take new flows, or will as soon as the leader has made the next epoch."""
    return {
        member.backend
        for member in pool.members
        if member.backend not in _drained(view, pool.name)
        and _state(view, pool, member.backend) is not BackendState.FAILED
    }


def _takes_flows(view: FleetView, pool: Pool, name: BackendName) -> bool:
    return _state(view, pool, name) is BackendState.ACTIVE


def _state(view: FleetView, pool: Pool, name: BackendName) -> BackendState | None:
    epoch, member = view.current_epoch(pool.name), view.backends.get(name)
    if epoch is None or member is None:
        return None
    return next((slot.state for slot in epoch.slots if slot.backend == member.id), None)


def _drained(view: FleetView, pool: PoolName) -> Collection[BackendName]:
    return view.intents.drained_backends.get(pool, ())


def _without(intents: Intents, name: BackendName, pools: Collection[PoolName]) -> Intents:
    kept = {
        pool: tuple(one for one in names if pool not in pools or one != name)
        for pool, names in intents.drained_backends.items()
    }
    return replace(intents, drained_backends={pool: names for pool, names in kept.items() if names})


def _pools_without(desired: DesiredFleet, name: BackendName, pools: Collection[PoolName]) -> tuple[Pool, ...]:
    return tuple(
        replace(pool, members=tuple(member for member in pool.members if member.backend != name))
        if pool.name in pools
        else pool
        for pool in desired.pools
    )


def _drain_plan(
    view: FleetView,
    name: BackendName,
    pools: Collection[Pool],
    drained: dict[PoolName, tuple[BackendName, ...]],
    change: str,
) -> Plan:
    return Plan(
        view.desired_version,
        view.intents_version,
        intents=replace(view.intents, drained_backends=drained) if pools else None,
        differences=tuple(
            Difference(Change.CHANGED, f"pool {pool.name}, backend {name}", change) for pool in pools
        ),
    )


def _invalid(text: str) -> Refusal:
    """Return the refusal of a value: `text` reads "… is wrong; remedy"."""
    reason, _, remedy = text.partition("; ")
    return Refusal(RefusalKind.INVALID, reason, remedy)
