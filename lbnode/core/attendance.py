"""Which members are missing, since when, and what they cannot know: a node that is cut off goes on by an old epoch.

Decides since when a node has been gone, as far as this one has watched, and which nodes may still give new flows to
backends that should get none. Does not decide what is done about it: nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lbnode.model.epoch import Epoch
from lbnode.model.ids import NodeName
from lbnode.model.view import FleetView

TAKEN_UP_S = 1.0
"""A node that was there for so long after an epoch was made has got it."""


@dataclass(slots=True)
class Attendance:
    """Since when (seconds of the wall clock) each missing node is gone; absent for those never seen connected."""

    gone_at: dict[NodeName, float] = field(default_factory=dict)
    _present: frozenset[NodeName] = frozenset()

    def observe(self, view: FleetView, wall: float) -> None:
        """Look who is there; a node without the store sees nobody, and that says nothing."""
        if not view.connected:
            return
        present = frozenset(view.live_nodes)
        for name in self._present - present:
            self.gone_at[name] = wall
        for name in present | (self.gone_at.keys() - view.nodes.keys()):
            self.gone_at.pop(name, None)
        self._present = present


def behind(view: FleetView, epoch: Epoch, gone_at: Mapping[NodeName, float]) -> dict[NodeName, str]:
    """Return the nodes that do not go by `epoch`, each with why: members that are gone, and who could not load it."""
    return dict(_behind(view, epoch, gone_at)) if view.connected else {}


def _behind(
    view: FleetView, epoch: Epoch, gone_at: Mapping[NodeName, float]
) -> Iterator[tuple[NodeName, str]]:
    for name in sorted({*view.nodes, *view.live_nodes}):
        live = view.live_nodes.get(name)
        loaded = live.pools.get(epoch.pool) if live is not None else None
        if live is None:
            if (
                gone_at.get(name, 0.0) < epoch.created_at + TAKEN_UP_S
                and name not in view.intents.drained_nodes
            ):
                yield name, f"has not got epoch {epoch.number}"
        elif loaded is not None and loaded.problem and loaded.current != epoch.number:
            yield name, f"keeps epoch {loaded.current}" if loaded.current else "has no table"
