"""Which pools a verb on a backend is about, what the backend is there now, and what `--force` sets free."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from lbnode.core.joining import drained, wanted_fleet
from lbnode.core.plan import refuse_unknown
from lbnode.model.epoch import BackendState, EpochSlot
from lbnode.model.fleet import DesiredFleet, Intents, Pool
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import Refusal, RefusalKind
from lbnode.model.view import FleetView

NO_FLEET = Refusal(
    RefusalKind.STATE, "nothing has been applied to this fleet yet", "first: lbctl apply -f fleet.yaml"
)


def pools_of(
    view: FleetView, name: BackendName, pool: PoolName | None, *, none_is_fine: bool = False
) -> list[Pool] | Refusal:
    """Return the pools that a verb is about: the named one, or all that have the backend."""
    wanted = wanted_fleet(view)
    if wanted is None:
        return NO_FLEET
    backends = {backend.name for backend in wanted.backends}
    if name not in backends:
        return refuse_unknown("backend", name, backends)
    pools = {pool.name: pool for pool in wanted.pools}
    if pool is not None and pool not in pools:
        return refuse_unknown("pool", pool, pools)
    having = [one for one in pools.values() if has(one, name)]
    if pool is not None and pools[pool] not in having:
        where = ", ".join(one.name for one in having) or "no pool"
        return Refusal(RefusalKind.STATE, f"{name} is not in pool {pool}", f"it is in: {where}")
    if not having and not none_is_fine:
        return Refusal(RefusalKind.STATE, f"{name} is in no pool", f"lbctl backend add {name} --pool POOL")
    return [pools[pool]] if pool is not None else having


def has(pool: Pool, name: BackendName) -> bool:
    """True when `name` is a member of `pool`."""
    return name in {member.backend for member in pool.members}


def joined_objection(
    view: FleetView, name: BackendName, pools: Iterable[Pool], remedy: str
) -> Refusal | None:
    """Return why the operator's fleet cannot be changed for `name`: it is in one of `pools` by its own registration."""
    desired = view.desired.pools if view.desired is not None else ()
    listing = {pool.name for pool in desired if has(pool, name)}
    for pool in pools:
        if pool.name not in listing:
            return Refusal(
                RefusalKind.STATE, f"{name} joined pool {pool.name} by itself (join: auto)", remedy
            )
    return None


def drained_in(view: FleetView, pool: PoolName) -> Collection[BackendName]:
    """Return the backends that an operator drained in `pool`."""
    return view.intents.drained_backends.get(pool, ())


def active_in(view: FleetView, pool: Pool) -> set[BackendName]:
    """Return the backends that take new flows, or will as soon as the leader has made the next epoch."""
    return {
        member.backend
        for member in pool.members
        if member.backend not in drained(view, pool.name)
        and state_in(view, pool.name, member.backend) is not BackendState.FAILED
    }


def state_in(view: FleetView, pool: PoolName, name: BackendName) -> BackendState | None:
    """Return the state of a backend in the current epoch; None when it has no slot there."""
    slot = slot_of(view, pool, name)
    return None if slot is None else slot.state


def slot_of(view: FleetView, pool: PoolName, name: BackendName) -> EpochSlot | None:
    """Return the slot that a backend sits in by the current epoch."""
    epoch, member = view.current_epoch(pool), view.backends.get(name)
    if epoch is None or member is None:
        return None
    return next((slot for slot in epoch.slots if slot.backend == member.id), None)


def without_drain(intents: Intents, name: BackendName, pools: Collection[PoolName]) -> Intents:
    """Return the intents without the drains of `name` in `pools`."""
    kept = {
        pool: tuple(one for one in names if pool not in pools or one != name)
        for pool, names in intents.drained_backends.items()
    }
    return replace(intents, drained_backends={pool: names for pool, names in kept.items() if names})


def let_go(view: FleetView, intents: Intents, pools: Iterable[PoolName]) -> Intents:
    """Return the intents so that the next epoch of each of `pools` is not held; what was forced before is forgotten.

    A pool without an epoch has nothing to hold.
    """
    newest = {pool: epoch.number for pool in view.epochs if (epoch := view.newest(pool)) is not None}
    still = {pool: number for pool, number in intents.forced.items() if newest.get(pool) == number}
    return replace(intents, forced=still | {pool: newest[pool] for pool in pools if pool in newest})


def members_without(
    desired: DesiredFleet, name: BackendName, pools: Collection[PoolName]
) -> tuple[Pool, ...]:
    """Return all pools, those named without `name`."""
    return tuple(
        replace(pool, members=tuple(member for member in pool.members if member.backend != name))
        if pool.name in pools
        else pool
        for pool in desired.pools
    )
