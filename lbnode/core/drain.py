"""How far a drain has come: whether every announcing node knows of it, and how many flows the backend still holds.

Decides when a drain is over: every announcing node uses an epoch since which the backend takes no new flows, *and*
its agent, which has loaded such an epoch too, counts zero (design.md §6). Without an agent nobody counts; an agent
that is not connected, or has not counted yet, says nothing. Does not decide what follows from it.
"""

from __future__ import annotations

from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.ids import BackendId, BackendName, EpochNumber, PoolName
from lbnode.model.view import FleetView


def flows_left(view: FleetView, pool: PoolName, backend: BackendName) -> int | None:
    """Return the flows that a draining or former occupant's agent counts in `pool`; None when nobody counts."""
    agent, member = view.live_agents.get(backend), view.backends.get(backend)
    if agent is None or member is None or not member.agent:
        return None
    since = closed_since(view, pool, member.id)
    if since is None or agent.pools.get(pool, 0) < since:
        return None
    return agent.flows.get(pool)


def is_in_effect(view: FleetView, pool: PoolName, backend: BackendId) -> bool:
    """True when no announcing node gives `backend` new flows of `pool` any more."""
    since = closed_since(view, pool, backend)
    if since is None:
        return False
    announcing = [node for node in view.live_nodes.values() if node.announced]
    loaded = [node.pools.get(pool) for node in announcing]
    return all(one is not None and (one.current or 0) >= since for one in loaded)


def is_over(view: FleetView, pool: PoolName, backend: BackendName) -> bool:
    """True when `backend` gets no new flows of `pool` from any node and its agent counts none."""
    member = view.backends.get(backend)
    if member is None:
        return True
    return is_in_effect(view, pool, member.id) and flows_left(view, pool, backend) == 0


def closed_since(view: FleetView, pool: PoolName, backend: BackendId) -> EpochNumber | None:
    """Return the first epoch of the row, up to the current one, in which `backend` takes no new flows.

    None while it is active in the current epoch, or when there is none. Epochs that are not stored any more are not
    asked: a row that goes back to the oldest one begins there.
    """
    since: EpochNumber | None = None
    epochs, number = view.epochs.get(pool, {}), view.current.get(pool)
    while number is not None and number in epochs and not _takes_flows(epochs[number], backend):
        since = number
        number = EpochNumber(number - 1)
    return since


def _takes_flows(epoch: Epoch, backend: BackendId) -> bool:
    return any(slot.backend == backend and slot.state is BackendState.ACTIVE for slot in epoch.slots)
