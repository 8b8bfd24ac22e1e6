"""Which new flows a backend takes of a pool; the others it passes on to their owner by its own epoch."""

from __future__ import annotations

from enum import IntEnum

from lbnode.model.epoch import BackendState


class Intake(IntEnum):
    """Of which senders; enum intake of the agent's program (lbnode/bpf/decap_layout.h)."""

    NONE = 0
    ONE_BEHIND = 1
    """Of those that go by this backend's epoch, a newer one, or the one before."""
    IN_STEP = 2
    """Of those that go by this backend's epoch or a newer one."""


def intake_in(state: BackendState | None) -> Intake:
    """Return what a backend takes that sits in a slot in `state`; None: it sits in none.

    To one that has failed a sender without news sends what it always did; one that goes by its epoch has its own
    verdict on top, by which nobody else serves (design.md §6).
    """
    match state:
        case BackendState.ACTIVE:
            return Intake.ONE_BEHIND
        case BackendState.FAILED:
            return Intake.IN_STEP
        case _:
            return Intake.NONE
