"""What applying a fleet would do to its flows, before it is applied: the answer of `lbctl plan`.

Decides nothing of its own: it takes the operator's wish through the functions that the leader decides with
(registration, epochs, history, admission) and counts. Newcomers are taken to come up. What no agent was asked about
is said to be unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lbnode.core.control import decide
from lbnode.core.epochs import Inputs
from lbnode.core.flows import answered, names_by_id
from lbnode.core.forecast_pool import foresee_pool
from lbnode.core.forwarding import find_pool
from lbnode.core.health import majority
from lbnode.core.history import MissingEpochError
from lbnode.core.joining import drained, wanted_fleet
from lbnode.core.judged import judged
from lbnode.core.registration import register
from lbnode.core.vips import lost_flows
from lbnode.core.writes import PutBackend, PutIds
from lbnode.model.fleet import DesiredFleet, Pool
from lbnode.model.forecast import Broken, Forecast, PoolForecast
from lbnode.model.ids import BackendId, BackendName, PoolName
from lbnode.model.requests import Apply, Refusal, RefusalKind
from lbnode.model.tunnel import tunnel_end
from lbnode.model.view import FleetView


def forecast(view: FleetView, desired: DesiredFleet, wall: float) -> Forecast | Refusal:
    """Return what becomes of the flows if `desired` is applied at `wall` (seconds of the wall clock)."""
    decision = decide(view, Apply(desired, dry_run=True))
    if isinstance(decision, Refusal):
        return decision
    if view.identity is None:
        return Refusal(RefusalKind.STATE, "this fleet has no leader yet, so nothing is known", "lbctl status")
    wanted = wanted_fleet(replace(view, desired=desired)) or desired
    after = replace(
        _registered(view, wanted, wall), desired=desired, intents=decision.intents or view.intents
    )
    try:
        pools = (*_kept_pools(view, after, wanted, wall), *_ended_pools(view, desired))
    except MissingEpochError as error:
        return Refusal(RefusalKind.STATE, str(error), "lbctl status says what is wrong with the store")
    return Forecast(decision.desired_version, decision.differences, decision.warnings, pools)


def _registered(view: FleetView, desired: DesiredFleet, wall: float) -> FleetView:
    """The view with the ids that newcomers would get; leavers keep theirs."""
    for write in register(view, desired, wall):
        match write:
            case PutIds(ledger):
                view = replace(view, ids=ledger)
            case PutBackend(member):
                view = replace(view, backends={**view.backends, member.name: member})
    return view


def _kept_pools(
    view: FleetView, after: FleetView, desired: DesiredFleet, wall: float
) -> Iterator[PoolForecast]:
    for pool in desired.pools:
        if not pool.members and view.newest(pool.name) is None:
            continue
        found = foresee_pool(after, pool, _inputs(after, pool), wall)
        broken = (*found.broken, *_moved_away(view, desired, pool.name))
        yield replace(found, broken=broken)


def _inputs(view: FleetView, pool: Pool) -> Inputs:
    assert view.identity is not None
    ids = {name: member.id for name, member in view.backends.items()}
    return Inputs(
        fleet=view.identity.uuid,
        ids=ids,
        drained=drained(view, pool.name),
        up=_verdicts(view, pool, ids),
        agents=frozenset(member.id for member in view.backends.values() if member.agent),
        connected=frozenset(ids[name] for name in view.live_agents if name in ids),
    )


def _verdicts(view: FleetView, pool: Pool, ids: dict[BackendName, BackendId]) -> dict[BackendName, bool]:
    """What most nodes think of each; who is new to the pool counts as up."""
    newest = view.newest(pool.name)
    seated = {slot.backend for slot in newest.slots} if newest is not None else set()
    verdicts: dict[BackendName, bool] = {}
    for name in judged(view, pool):
        verdict = majority(view.opinions(pool.name, name).values(), None if ids[name] in seated else True)
        if verdict is not None:
            verdicts[name] = verdict
    return verdicts


def _ended_pools(view: FleetView, desired: DesiredFleet) -> Iterator[PoolForecast]:
    """Pools that nobody wants any more: all of their flows end."""
    kept = {pool.name for pool in desired.pools}
    for pool in view.desired.pools if view.desired is not None else ():
        if pool.name not in kept:
            broken = tuple(_all_flows(view, pool.name, f"pool {pool.name} ends"))
            yield PoolForecast(pool.name, pool.table_size, 0, (), None, broken=broken)


def _moved_away(view: FleetView, desired: DesiredFleet, pool: PoolName) -> Iterator[Broken]:
    """Flows that lose their VIP, its pool, or the machine behind their backend's name."""
    for vip, what in lost_flows(view.desired, desired) if view.desired is not None else ():
        if vip.pool == pool:
            yield from _all_flows(view, pool, f"vip {vip.key} {what}")
    addresses = {backend.name: backend.addresses for backend in desired.backends}
    wanted = find_pool(desired, pool)
    for broken in _all_flows(
        view, pool, "its address changes: to another machine, use lbctl backend replace"
    ):
        member = view.backends.get(broken.backend)
        if member is not None and wanted is not None:
            before = tunnel_end(member.addresses, wanted.tunnel)
            if before not in (
                None,
                tunnel_end(addresses.get(broken.backend, member.addresses), wanted.tunnel),
            ):
                yield broken


def _all_flows(view: FleetView, pool: PoolName, why: str) -> Iterator[Broken]:
    """All flows of a pool, by backend."""
    newest = view.newest(pool)
    if newest is None or find_pool(view.desired, pool) is None:
        return
    names, counts = names_by_id(view), answered(view, newest)
    for number in sorted({slot.backend for slot in newest.slots if slot.backend is not None}):
        count = int(counts[number].sum()) if number in counts else None
        if count != 0:
            yield Broken(names.get(number, BackendName(f"id {number}")), count, why)
