"""How a backend leaves the fleet before its agent ends: drained first, then out of its slots, then gone. Pure.

Decides what the agent says of itself while it leaves, and when it may end. Every step follows from what the fleet says
back, so an agent that is slow or loses the store for a while goes on where it was. Does not decide how a drain goes
(`lbnode.core.drain`) or who takes over (`lbnode.core.epochs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from lbnode.backend.plan import holds_flows
from lbnode.core.drain import flows_left, is_over
from lbnode.core.joining import wanted_fleet
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.view import FleetView

SURE_S = 2.5
"""How long no flow must have been counted: counts are told once a second, and a handshake may be on its way."""

FREED_S = 15.0
"""How long an agent that is drained waits until no epoch names it any more."""


class Stage(Enum):
    """A leaver's way, in this order."""

    DRAINING = "draining"
    OUT = "out"
    """Drained, or out of patience: it asks for no place any more."""
    GONE = "gone"


@dataclass(slots=True)
class Departure:
    """One leaver. `began_at`: the monotonic clock; `drain_s`: for how many seconds it waits for its flows."""

    name: BackendName
    began_at: float
    drain_s: float
    stage: Stage = Stage.DRAINING
    broken: Mapping[PoolName, int | None] | None = None
    """Flows that it did not wait for, by pool (None: nobody counted); None while it still waits, or need not."""
    _over_at: float | None = None
    _out_at: float = 0.0

    def handle(self, view: FleetView, now: float) -> Stage:
        """Return where the leaver is now."""
        if self.stage is Stage.DRAINING and self._is_drained(view, now):
            self.stage, self._out_at = Stage.OUT, now
        if self.stage is Stage.OUT and self._is_free(view, now):
            self.stage = Stage.GONE
        return self.stage

    def _is_drained(self, view: FleetView, now: float) -> bool:
        if _nobody_sends(view):
            return True
        pools = places(view, self.name)
        if not _is_leaving(view, self.name) or not all(is_over(view, pool, self.name) for pool in pools):
            self._over_at = None
        elif self._over_at is None:
            self._over_at = now
        if self._over_at is not None and now - self._over_at >= SURE_S:
            return True
        if now - self.began_at < self.drain_s:
            return False
        self.broken = {pool: flows_left(view, pool, self.name) for pool in pools}
        return True

    def _is_free(self, view: FleetView, now: float) -> bool:
        if _nobody_sends(view) or is_listed(view, self.name) or now - self._out_at >= FREED_S:
            return True
        member = view.backends.get(self.name)
        is_asking = self.name in view.agents
        return not is_asking and not any(
            holds_flows(view, pool, member.id if member is not None else None) for pool in view.epochs
        )


def places(view: FleetView, name: BackendName) -> list[PoolName]:
    """Return the pools in which a backend is wanted, or named by an epoch."""
    wanted, member = wanted_fleet(view), view.backends.get(name)
    pools = wanted.pools if wanted is not None else ()
    found = {pool.name for pool in pools if any(member.backend == name for member in pool.members)}
    found |= {pool for pool in view.epochs if member is not None and holds_flows(view, pool, member.id)}
    return sorted(found)


def _is_leaving(view: FleetView, name: BackendName) -> bool:
    """The fleet knows that it leaves."""
    return view.connected and name in view.agents and view.agents[name].leaving


def _nobody_sends(view: FleetView) -> bool:
    """No node is connected: none announces anything, and none is there to lead."""
    return view.connected and not view.live_nodes


def is_listed(view: FleetView, name: BackendName) -> bool:
    """Return whether the operator lists it: then it keeps its slots, drained, until it is back."""
    return view.desired is not None and name in {backend.name for backend in view.desired.backends}
