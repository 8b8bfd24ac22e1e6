"""Whether a node may act on its own health verdicts while it is on its own (design.md §6, the local view).

A node that finds no backend up, of all that it probes, has lost its own links rather than the fleet all its backends.
That it then says so is right: it cannot serve, and withdraws. But when its links return, its backends come up one by
one, and those whose turn has not come are no more down than the others: for as long its verdicts count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbnode.model.ids import BackendName, PoolName

Verdicts = Mapping[PoolName, Mapping[BackendName, bool]]
PATIENCE_S = 15.0
"""So long after the first backend came back, what is still down is believed to be down."""


@dataclass(slots=True)
class Credence:
    """Verdicts in, verdicts that count out. `back_since`: when the first came back; None while none was lost."""

    lost_all: bool = False
    back_since: float | None = None

    def weigh(self, verdicts: Verdicts, now: float) -> Verdicts:
        """Return the verdicts that count now: `verdicts`, or none at all."""
        opinions = [is_up for of_pool in verdicts.values() for is_up in of_pool.values()]
        if opinions and not any(opinions):
            self.lost_all, self.back_since = True, None
        elif self.lost_all and self.back_since is None:
            self.back_since = now
        if self.back_since is not None and (all(opinions) or now >= self.back_since + PATIENCE_S):
            self.lost_all, self.back_since = False, None
        return {} if self.back_since is not None else verdicts
