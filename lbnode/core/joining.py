"""Who is in the pools: those that the operator lists, and with `join: auto` those that ask for it themselves.

Decides which registered agents are members of which pools, which of them are drained because they leave, and whose
registration is void because its machine is gone. It follows from records alone, so that every node and every agent
sees the same fleet. Does not decide which slot a member gets (`lbnode.core.epochs`) or when a drain is over
(`lbnode.core.drain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lbnode.core.rules import check_weight
from lbnode.model.fleet import MAX_SLOTS, Backend, DesiredFleet, Join, Pool, PoolMember
from lbnode.model.ids import BackendName, IPAddress, PoolName
from lbnode.model.members import AgentMember
from lbnode.model.tunnel import tunnel_end
from lbnode.model.view import FleetView
from lbnode.model.vip import lying_in

NOT_REGISTERED = 1 << 16
"""Sorts backends that have no id yet behind all that have one: they came last."""


def wanted_fleet(view: FleetView) -> DesiredFleet | None:
    """Return what the operator wants with those added who joined by themselves; None before the first `apply`."""
    desired = view.desired
    if desired is None or not any(pool.join is Join.AUTO for pool in desired.pools):
        return desired
    joiners = list(_joiners(view, desired))
    pools = tuple(_with_joiners(pool, joiners) for pool in desired.pools)
    listed = {backend.name for backend in desired.backends}
    seated = {member.backend for pool in pools for member in pool.members}
    newcomers = tuple(
        Backend(agent.name, agent.addresses)
        for agent in joiners
        if agent.name in seated and agent.name not in listed
    )
    return replace(desired, backends=(*desired.backends, *newcomers), pools=pools)


def drained(view: FleetView, pool: PoolName) -> frozenset[BackendName]:
    """Return who gets no new flows of `pool` by plan: drained by an operator, or leaving."""
    leaving = {name for name, agent in view.agents.items() if agent.leaving}
    return frozenset(view.intents.drained_backends.get(pool, ())) | leaving


def has_joined(view: FleetView, name: BackendName) -> bool:
    """Whether a backend is in the fleet by its own registration, and not because the operator lists it."""
    wanted = wanted_fleet(view)
    return (
        view.desired is not None
        and wanted is not None
        and name in {backend.name for backend in wanted.backends}
        and name not in {backend.name for backend in view.desired.backends}
    )


def is_reachable(agent: AgentMember, pool: Pool) -> bool:
    """Whether the agent takes packets of the pool's tunnels; who does not is not let in."""
    return tunnel_end(agent.addresses, pool.tunnel) is not None


def void_registrations(view: FleetView) -> Iterator[BackendName]:
    """Yield the joiners whose machine is gone: another connected one has its address, or it ended while it left."""
    holders = {
        address for name in view.live_agents if name in view.agents for address in view.agents[name].addresses
    }
    listed = {backend.name for backend in view.desired.backends} if view.desired is not None else set()
    for name, agent in sorted(view.agents.items()):
        if not agent.joins or name in view.live_agents or name in listed:
            continue
        if agent.leaving or not holders.isdisjoint(agent.addresses):
            yield name


def _joiners(view: FleetView, desired: DesiredFleet) -> Iterator[AgentMember]:
    """Registered agents that may come in, those that came first in front; of several at one address the last."""
    asking = _in_order(view)
    addresses = {address for agent in asking for address in agent.addresses}
    taken: set[IPAddress] = {one for vip in desired.vips for one in lying_in(vip.address, addresses)}
    taken |= {address for backend in desired.backends for address in backend.addresses}
    listed = {backend.name for backend in desired.backends}
    last_at = {
        address: agent.name for agent in asking if agent.name not in listed for address in agent.addresses
    }
    for agent in asking:
        is_alone = taken.isdisjoint(agent.addresses) and all(
            last_at.get(address) == agent.name for address in agent.addresses
        )
        if agent.name in listed or is_alone:
            yield agent


def _in_order(view: FleetView) -> list[AgentMember]:
    """The agents that ask to come in, in the order in which they got their ids."""

    def order(agent: AgentMember) -> tuple[int, str]:
        member = view.backends.get(agent.name)
        return (member.id if member is not None else NOT_REGISTERED, agent.name)

    asking = [agent for agent in view.agents.values() if agent.joins and check_weight(agent.weight) is None]
    return sorted(asking, key=order)


def _with_joiners(pool: Pool, joiners: Iterable[AgentMember]) -> Pool:
    if pool.join is not Join.AUTO:
        return pool
    listed = {member.backend for member in pool.members}
    joined = [
        PoolMember(agent.name, agent.weight)
        for agent in joiners
        if pool.name in agent.joins and agent.name not in listed and is_reachable(agent, pool)
    ]
    return replace(pool, members=(*pool.members, *joined)[: min(MAX_SLOTS, pool.table_size)])
