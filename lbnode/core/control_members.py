"""Operators' verbs on who is in a pool: add and remove a backend (`lbnode.core.control_replace`: replace one)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from lbnode.core.control_pools import (
    NO_FLEET,
    has,
    joined_objection,
    let_go,
    members_without,
    pools_of,
    state_in,
    without_drain,
)
from lbnode.core.difference import describe_backend
from lbnode.core.drain import flows_left, is_in_effect
from lbnode.core.joining import drained, has_joined
from lbnode.core.plan import Decision, Plan, refuse_unknown
from lbnode.core.rules import check_address, check_addresses, check_name, check_weight
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import MAX_SLOTS, Backend, DesiredFleet, Join, Pool, PoolMember
from lbnode.model.ids import BackendName, IPAddress, PoolName
from lbnode.model.requests import (
    AddBackend,
    Change,
    Difference,
    Refusal,
    RefusalKind,
    RemoveBackend,
)
from lbnode.model.tunnel import Addresses, describe, in_order, tunnel_end
from lbnode.model.view import FleetView
from lbnode.model.vip import lying_in


def add_backend(view: FleetView, request: AddBackend) -> Decision:
    """Put a backend into a pool, and into the fleet when it is new there."""
    desired = view.desired
    if desired is None:
        return NO_FLEET
    refusal = _addition_objection(desired, request)
    if refusal is not None:
        return refusal
    grown, differences = with_backend(desired, request.name, request.addresses, agent=request.agent)
    member = PoolMember(request.name, request.weight)
    pools = tuple(
        replace(pool, members=(*pool.members, member)) if pool.name == request.pool else pool
        for pool in grown.pools
    )
    added = Difference(
        Change.ADDED, f"pool {request.pool}, backend {request.name}", f"weight {request.weight}"
    )
    intents = let_go(view, view.intents, [request.pool]) if request.force else view.intents
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=replace(grown, pools=pools),
        intents=None if intents == view.intents else intents,
        differences=(*differences, added),
        warnings=without_flow_table(grown, request.name, [request.pool]),
    )


def remove_backend(view: FleetView, request: RemoveBackend) -> Decision:
    """Take a drained backend out of one pool, or out of all its pools and the fleet."""
    desired = view.desired
    pools = pools_of(view, request.name, request.pool, none_is_fine=request.pool is None)
    if desired is None or isinstance(pools, Refusal):
        return pools if isinstance(pools, Refusal) else NO_FLEET
    joined = has_joined(view, request.name)
    refusal = _joiner_objection(view, request, pools)
    if refusal is not None:
        return refusal
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
    intents = without_drain(view.intents, request.name, names)
    if request.force:
        intents = let_go(view, intents, names)
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=None
        if joined
        else replace(desired, backends=kept, pools=members_without(desired, request.name, names)),
        intents=None if intents == view.intents else intents,
        removed_agent=request.name if joined else None,
        differences=tuple(differences),
    )


def with_backend(
    desired: DesiredFleet, name: BackendName, addresses: Addresses, *, agent: bool
) -> tuple[DesiredFleet, tuple[Difference, ...]]:
    """Return the fleet with a backend, and the difference if it is new there."""
    if not addresses or name in {backend.name for backend in desired.backends}:
        return desired, ()
    added = Backend(name, in_order(addresses), agent)
    difference = Difference(Change.ADDED, f"backend {name}", describe_backend(added))
    return replace(desired, backends=(*desired.backends, added)), (difference,)


def agent_objection(desired: DesiredFleet, name: BackendName, *, agent: bool) -> Refusal | None:
    """Return why `name` cannot be said to have no agent: the fleet knows it as one that has."""
    if agent or not any(backend.name == name and backend.agent for backend in desired.backends):
        return None
    return Refusal(
        RefusalKind.STATE,
        f"{name} is known as a backend with the agent",
        "to say otherwise, give it `agent: false` in fleet.yaml and apply that; or leave --no-agent out",
    )


def address_objection(
    desired: DesiredFleet, name: BackendName, addresses: Addresses, pools: Iterable[Pool]
) -> Refusal | None:
    """Return why `name` cannot be at `addresses`, or not be reached there by `pools`.

    A known backend has addresses, a new one needs some of its own.
    """
    known = {backend.name: backend.addresses for backend in desired.backends}
    if name in known and addresses and in_order(addresses) != known[name]:
        return Refusal(
            RefusalKind.INVALID,
            f"{name} is at {describe(known[name])}, not at {describe(addresses)}",
            "leave the address out, or use another name",
        )
    if name not in known:
        refusal = _newcomer_objection(desired, name, addresses)
        if refusal is not None:
            return refusal
    for pool in pools:
        if tunnel_end(known.get(name, addresses), pool.tunnel) is None:
            return Refusal(
                RefusalKind.INVALID,
                f"{name} has no {pool.tunnel.title} address, and pool {pool.name} tunnels in {pool.tunnel.title}",
                f"give it one, too: address: [IPV4, IPV6] of {name} in fleet.yaml, or on the command line if it is new",
            )
    return None


def _newcomer_objection(desired: DesiredFleet, name: BackendName, addresses: Addresses) -> Refusal | None:
    if not addresses:
        return Refusal(RefusalKind.INVALID, f"{name} is new to the fleet", "give its address, too")
    problem = check_addresses(addresses)
    if problem is not None:
        return invalid(f"addresses {problem}")
    owners: dict[IPAddress, str] = {
        address: f"that of backend {backend.name}"
        for backend in desired.backends
        for address in backend.addresses
    }
    for vip in desired.vips:
        owners |= dict.fromkeys(lying_in(vip.address, addresses), f"that of VIP {vip.key}")
    for address in addresses:
        problem = check_address(address)
        if problem is not None:
            return invalid(f"address {address} {problem}")
        if address in owners:
            return Refusal(
                RefusalKind.INVALID, f"address {address} is {owners[address]}", "use another address"
            )
    return None


def without_flow_table(
    desired: DesiredFleet, name: BackendName, pools: Collection[PoolName]
) -> tuple[str, ...]:
    """Return a warning for each of `pools` in which a backend without agent takes buckets over at a price."""
    if any(backend.name == name and backend.agent for backend in desired.backends):
        return ()
    return tuple(
        f"{name} has no agent and pool {pool.name} no flow table: flows whose buckets {name} takes over break"
        for pool in desired.pools
        if pool.name in pools and not pool.flow_table
    )


def invalid(text: str) -> Refusal:
    """Return the refusal of a value: `text` reads "… is wrong; remedy"."""
    reason, _, remedy = text.partition("; ")
    return Refusal(RefusalKind.INVALID, reason, remedy)


def _addition_objection(desired: DesiredFleet, request: AddBackend) -> Refusal | None:
    pools = {pool.name: pool for pool in desired.pools}
    if request.pool not in pools:
        return refuse_unknown("pool", request.pool, pools)
    for what, problem in (("name", check_name(request.name)), ("weight", check_weight(request.weight))):
        if problem is not None:
            return invalid(f"{what} {getattr(request, what)} {problem}")
    pool = pools[request.pool]
    if has(pool, request.name):
        return Refusal(
            RefusalKind.STATE,
            f"{request.name} is in pool {request.pool} already",
            f"to change its weight: lbctl backend weigh {request.name} WEIGHT --pool {request.pool}",
        )
    if len(pool.members) >= MAX_SLOTS:
        return Refusal(RefusalKind.STATE, f"pool {request.pool} has {MAX_SLOTS} backends, which is the most")
    refusal = agent_objection(desired, request.name, agent=request.agent)
    return refusal or address_objection(desired, request.name, request.addresses, [pool])


def _joiner_objection(view: FleetView, request: RemoveBackend, pools: list[Pool]) -> Refusal | None:
    """A backend that joined by itself would only join again, and its own settings say where."""
    name = request.name
    if has_joined(view, name) and request.pool is None:
        if name not in view.live_agents:
            return None
        return Refusal(
            RefusalKind.STATE,
            f"{name} joined by itself (join: auto) and is connected: it would join again",
            "stop its agent there; with `leave_on_stop` it drains and leaves by itself",
        )
    return joined_objection(
        view, name, pools, "take the pool out of `join` in its own settings, and restart it"
    )


def _removal_objection(view: FleetView, request: RemoveBackend, pool: Pool) -> Refusal | None:
    name = request.name
    if len(pool.members) == 1 and pool.join is Join.LISTED:
        return Refusal(
            RefusalKind.STATE,
            f"{name} is the only backend of pool {pool.name}, and a pool has at least one",
            "add another first, or take the pool and its VIPs out of fleet.yaml and apply it",
        )
    if request.force or state_in(view, pool.name, name) is None:
        return None
    if name not in drained(view, pool.name):
        return Refusal(
            RefusalKind.STATE,
            f"{name} is not drained in pool {pool.name}",
            f"first: lbctl backend drain {name} --wait; or repeat with --force: its flows may break",
        )
    return _drain_objection(view, name, pool)


def _drain_objection(view: FleetView, name: BackendName, pool: Pool) -> Refusal | None:
    """A drain has to have reached every node, and the agent, where one counts, must count none."""
    failed = state_in(view, pool.name, name) is BackendState.FAILED
    if not failed and not is_in_effect(view, pool.name, view.backends[name].id):
        return Refusal(
            RefusalKind.STATE,
            f"the drain of {name} in pool {pool.name} is not in effect on all nodes yet",
            "try again in a moment, or repeat with --force: its flows may break",
        )
    flows = flows_left(view, pool.name, name)
    if flows:
        return Refusal(
            RefusalKind.STATE,
            f"{name} still holds {flows} flow{'' if flows == 1 else 's'} in pool {pool.name}",
            f"wait for them: lbctl backend drain {name} --wait; or repeat with --force: they break",
        )
    return None
