"""Whether everybody has the addresses that the tunnels of a wanted fleet need.

Decides by members' records: who is asked to send, and who to take, packets of a family must have said an address of
it. Only pools whose tunnels change are looked at, so that one node without IPv6 does not hold up everything else:
it refuses their tables itself, by name (`lbnode.core.forwarding`). Changing a pool's tunnels moves no bucket and
breaks no flow: agents take packets of both families at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.model.fleet import DesiredFleet, Join, Pool
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import Refusal, RefusalKind
from lbnode.model.tunnel import TunnelFamily, tunnel_end
from lbnode.model.view import FleetView
from lbnode.model.vip import lying_in


def conflict(view: FleetView, new: DesiredFleet) -> Refusal | None:
    """Return why a VIP cannot have its address: a node's tunnels begin there."""
    sources = {address: node.name for node in view.nodes.values() for address in node.sources}
    for vip in new.vips:
        for address in lying_in(vip.address, sources):
            return Refusal(
                RefusalKind.INVALID,
                f"vip {vip.key}: {address} is a tunnel address of node {sources[address]}",
                "use addresses that no machine has",
            )
    return None


def objection(view: FleetView, old: DesiredFleet, new: DesiredFleet) -> Refusal | None:
    """Return why the tunnels of some pool of `new` cannot be what they are wanted to be; None when all can."""
    for pool in changed(old, new):
        for who, remedy in _without(view, pool):
            family = pool.tunnel.title
            what = f"pool {pool.name}: tunnel {pool.tunnel.value}, but {who} has no {family} address"
            return Refusal(
                RefusalKind.STATE, what, f"{remedy}, or repeat with --force: packets there are lost"
            )
    return None


def warnings(old: DesiredFleet, new: DesiredFleet) -> Iterator[str]:
    """Yield what clients of open connections will notice."""
    known = _tunnels(old)
    for pool in changed(old, new):
        if known.get(pool.name) is TunnelFamily.IPV4:
            yield (
                f"pool {pool.name}: an IPv6 tunnel leaves 20 bytes less for a packet: senders of open connections "
                "are told so by ICMP, and those that do not hear it stall; open connections end or shrink first "
                "where the links to the backends carry larger packets"
            )


def changed(old: DesiredFleet, new: DesiredFleet) -> list[Pool]:
    """Return the pools of `new` that have other tunnels in `old`, or none."""
    known = _tunnels(old)
    return [pool for pool in new.pools if known.get(pool.name) is not pool.tunnel]


def _tunnels(fleet: DesiredFleet) -> dict[PoolName, TunnelFamily]:
    return {pool.name: pool.tunnel for pool in fleet.pools}


def _without(view: FleetView, pool: Pool) -> Iterator[tuple[str, str]]:
    """Yield who lacks an address of the pool's family, and the remedy: senders, takers, and who still has flows."""
    members = {member.backend for member in pool.members} | _joining(view, pool)
    for node in view.nodes.values():
        if tunnel_end(node.sources, pool.tunnel) is None:
            remedy = f"{_SETTING} lbnode there; if it is gone for good: lbctl node remove {node.name}"
            yield f"node {node.name}", remedy
    for agent in view.agents.values():
        if agent.name in members and tunnel_end(agent.addresses, pool.tunnel) is None:
            yield f"the agent of backend {agent.name}", f"{_SETTING} lbbackend there"
    newest = view.newest(pool.name)
    leavers = (newest.named if newest is not None else frozenset()) - {
        member.id for name, member in view.backends.items() if name in members
    }
    for backend in view.backends.values():
        if backend.id in leavers and tunnel_end(backend.addresses, pool.tunnel) is None:
            yield f"backend {backend.name}, which left but may hold flows,", "wait until it holds none"


def _joining(view: FleetView, pool: Pool) -> set[BackendName]:
    """Who comes into the pool without being listed."""
    if pool.join is not Join.AUTO:
        return set()
    return {agent.name for agent in view.agents.values() if pool.name in agent.joins}


_SETTING = "add one to its settings (address: [IPV4, IPV6]) and restart"
