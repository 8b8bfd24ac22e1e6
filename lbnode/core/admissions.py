"""What the leader last decided of each pool's planned changes: one that waits is not weighed again and again.

Decides nothing of its own: `lbnode.core.admission` does, whenever something has changed that it depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lbnode.core.admission import NO_LEAVERS, Admitted, FailedLeavers, admit
from lbnode.core.damage import is_forced
from lbnode.core.flows import answered
from lbnode.model.epoch import Epoch
from lbnode.model.flows import FlowReport
from lbnode.model.ids import BackendName, EpochNumber, PoolName
from lbnode.model.members import BackendMember
from lbnode.model.view import FleetView


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that an admission depends on; `begin` is the first epoch of the window."""

    before: Epoch
    target: Epoch
    begin: EpochNumber
    reports: Mapping[BackendName, FlowReport]
    backends: Mapping[BackendName, BackendMember]
    failed_leavers: FailedLeavers


@dataclass(slots=True)
class Admissions:
    """The last admission of each pool."""

    _last: dict[PoolName, tuple[_Asked, Admitted]] = field(default_factory=dict)

    def admit(
        self,
        view: FleetView,
        newest: Epoch,
        target: Epoch,
        window: tuple[Epoch, ...],
        failed_leavers: FailedLeavers = NO_LEAVERS,
    ) -> Admitted:
        """Return how far the way from `newest` to `target` may be gone now: all of it where an operator said so."""
        if is_forced(view, newest):
            return Admitted(target)
        reports = view.reports.get(newest.pool, {})
        asked = _Asked(newest, target, window[0].number, reports, view.backends, failed_leavers)
        known = self._last.get(newest.pool)
        if known is None or known[0] != asked:
            known = asked, admit(newest, target, window, answered(view, newest), failed_leavers)
            self._last[newest.pool] = known
        return known[1]
