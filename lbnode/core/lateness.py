"""Who goes by an epoch that the fleet has left behind, and how long its owners must not be forgotten for that.

A node that is cut off goes on giving new flows to the owners of the last epoch that it knows. For these the affinity
window begins when that node has stopped to, not when the fleet went over to the next epoch: else they would break in
the moment in which it returns. Decides how far a window may close; does not decide anything else about it
(`lbnode.core.history`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lbnode.core.flows import may_hold_flows
from lbnode.core.history import closes_at, ring_slots, window_from
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import Pool
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.model.members import Late
from lbnode.model.view import FleetView

PUNCTUAL_S = 3.0
"""A node that goes over to an epoch within this time of its creation was not late; the leader waits 2 s for agents."""

PATIENCE_WINDOWS = 4
"""A member that is gone keeps an epoch in the window for so many times its length after the fleet has left it: a
machine that is gone for good and was never removed must not keep the past for ever."""


@dataclass(slots=True)
class Lateness:
    """What one node knows of its own being late; the fleet is told. `pools`: by pool."""

    pools: dict[PoolName, Late] = field(default_factory=dict)

    def switched(
        self, pool: PoolName, before: EpochNumber | None, epochs: Mapping[EpochNumber, Epoch], wall: float
    ) -> None:
        """Take note that the kernel left epoch `before` of a pool at `wall`; `epochs` are those of the fleet now."""
        if before is None:
            return
        successor = epochs.get(EpochNumber(before + 1))
        if before >= max(epochs, default=before) or (successor and wall < successor.created_at + PUNCTUAL_S):
            return
        known = self.pools.get(pool)
        oldest = before if known is None else min(before, known.epoch)
        self.pools[pool] = Late(oldest, wall)


def next_closing(view: FleetView, pool: Pool, newest: Epoch, wall: float) -> float | None:
    """Return when (wall clock) a part of the pool's window is to be closed; None while nothing can be."""
    kept = _kept_open(view, pool, newest, wall)
    if may_hold_flows(view, newest) or (kept is not None and kept <= newest.window_from):
        return None
    return closes_at(view.epochs[pool.name], newest, pool.affinity_window_s)


def next_window(view: FleetView, pool: Pool, newest: Epoch, target: Epoch, wall: float) -> EpochNumber:
    """Return where the window of `target`, the epoch after `newest`, begins."""
    if next_closing(view, pool, newest, wall) is None and newest.window_from != newest.number:
        return newest.window_from
    is_same = ring_slots(newest) == ring_slots(target)
    begin = window_from(view.epochs[pool.name], newest, is_same, wall, pool.affinity_window_s)
    kept = _kept_open(view, pool, newest, wall)
    return begin if kept is None else max(newest.window_from, min(begin, kept))


def _kept_open(view: FleetView, pool: Pool, newest: Epoch, wall: float) -> EpochNumber | None:
    """Return the oldest epoch by whose owners somebody goes, or went until less than a window ago."""
    return min(_followed(view, pool, newest, wall), default=None)


def _followed(view: FleetView, pool: Pool, newest: Epoch, wall: float) -> Iterator[EpochNumber]:
    for live in view.live_nodes.values():
        loaded = live.pools.get(pool.name)
        late = loaded.late if loaded is not None else None
        if late is not None and wall < late.until + pool.affinity_window_s:
            yield late.epoch
    gone = view.nodes.keys() - view.live_nodes.keys() - set(view.intents.drained_nodes)
    if gone and _counts(newest):
        patience_s = PATIENCE_WINDOWS * pool.affinity_window_s
        yield window_from(view.epochs[pool.name], newest, True, wall, patience_s)


def _counts(epoch: Epoch) -> bool:
    """Whether all backends have agents: nobody counts the flows of others, and changes wait for a window's end."""
    return all(slot.agent for slot in epoch.slots if slot.backend is not None)
