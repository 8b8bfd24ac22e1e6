"""Which addresses and prefixes a node tells the routers, and with which communities.

Decides: a VIP's address (its prefix as it is) is announced while all its tables are in use in this node's kernel
and at least one of its pools can serve; never before the connected agents accept this node's GRE; on drain first with
GRACEFUL_SHUTDOWN (RFC 8326), then not at all; nothing, and at once, while no packet can come in. Does not decide how
routers are told (`bgp`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from lbnode.core.epochs import can_serve
from lbnode.core.forwarding import PoolInKernel
from lbnode.model.ids import NodeName, PoolName
from lbnode.model.view import FleetView
from lbnode.model.vip import VipAddress, address_order

AGENTS_S = 5.0
"""How long a node waits for connected agents to accept its GRE before it announces all the same, with an alarm."""

SHUTDOWN_S = 1.0
"""How long a draining node keeps its routes up with GRACEFUL_SHUTDOWN before it withdraws them."""

STEADY_S = 2.0
"""How long packets must have been able to come in again before they are asked for: routes do not flap with a cable."""

IDLE_S = 2.0
"""A drained node whose packet counters stood still for so long has no traffic left."""


class Phase(Enum):
    """A node's life, as status shows it."""

    STARTING = "starting"
    UP = "up"
    DRAINING = "draining"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Announcement:
    """The whole set of addresses and prefixes to announce, and why others are not: address → reason."""

    addresses: tuple[VipAddress, ...]
    graceful_shutdown: bool
    withheld: Mapping[VipAddress, str]


def serviceable(
    view: FleetView, pools: Mapping[PoolName, PoolInKernel]
) -> tuple[list[VipAddress], dict[VipAddress, str]]:
    """Return the addresses that this node can carry, and for each other VIP address the reason against it."""
    by_address: dict[VipAddress, list[PoolName]] = {}
    for vip in view.desired.vips if view.desired is not None else ():
        by_address.setdefault(vip.address, []).append(vip.pool)
    ready: list[VipAddress] = []
    withheld: dict[VipAddress, str] = {}
    for address, names in sorted(by_address.items(), key=lambda item: address_order(item[0])):
        reason = _objection(names, pools)
        if reason:
            withheld[address] = reason
        else:
            ready.append(address)
    return ready, withheld


def _objection(names: list[PoolName], pools: Mapping[PoolName, PoolInKernel]) -> str:
    epochs = {name: pools[name].current if name in pools else None for name in names}
    missing = sorted(name for name, epoch in epochs.items() if epoch is None)
    if missing:
        return f"no table in the kernel yet for pool {', '.join(missing)}"
    if not any(epoch is not None and can_serve(epoch.slots) for epoch in epochs.values()):
        return f"no active backend in pool {', '.join(sorted(epochs))}"
    return ""


def deaf_agents(view: FleetView, node: NodeName) -> list[str]:
    """Return the connected agents that do not accept this node's GRE yet."""
    return sorted(name for name, agent in view.live_agents.items() if node not in agent.nodes)


def decide(
    view: FleetView,
    pools: Mapping[PoolName, PoolInKernel],
    node: NodeName,
    announced: Collection[VipAddress],
    waited_s: float,
    draining_s: float | None,
    obstacle: str,
) -> Announcement:
    """Return the whole set to announce.

    `announced` is what routers know already, `waited_s` how long the agents have been waited for, `draining_s` how
    long this node has been draining (None: it is not), `obstacle` what keeps packets from coming in, if anything. What
    is announced already does not wait for agents again.
    """
    ready, withheld = serviceable(view, pools)
    if obstacle:
        return Announcement((), draining_s is not None, dict.fromkeys(ready, obstacle) | withheld)
    if draining_s is not None:
        if draining_s >= SHUTDOWN_S:
            return Announcement((), True, dict.fromkeys(ready, "this node is drained") | withheld)
        return Announcement(tuple(address for address in ready if address in announced), True, withheld)
    deaf = deaf_agents(view, node)
    if deaf and waited_s < AGENTS_S:
        late = [address for address in ready if address not in announced]
        withheld |= dict.fromkeys(late, f"waits for agents to accept this node: {', '.join(deaf)}")
        ready = [address for address in ready if address in announced]
    return Announcement(tuple(ready), False, withheld)
