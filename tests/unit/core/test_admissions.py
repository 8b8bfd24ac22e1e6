"""What was decided of a change stands until something changes that it depends on."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np

from lbnode.core.admission import Admitted
from lbnode.core.admissions import Admissions
from lbnode.model.epoch import ALGORITHM, BackendState, Epoch, EpochSlot
from lbnode.model.fleet import HashAlgorithm, HashMode, Intents
from lbnode.model.flows import FlowQuestion, FlowReport
from lbnode.model.ids import BackendId, BackendName, EpochNumber, PoolName, SlotNumber
from lbnode.model.view import FleetView

WEB = PoolName("web")
SLOTS = tuple(
    EpochSlot(SlotNumber(number), 1, BackendId(number + 1), BackendState.ACTIVE, True) for number in range(5)
)
BEFORE = Epoch(
    UUID(int=7), WEB, EpochNumber(1), ALGORITHM, 251, 7, HashMode.FLOW, HashAlgorithm.MULTIPLY, 1, SLOTS, (),
    EpochNumber(1), "",
)  # fmt: skip
TARGET = replace(BEFORE, number=EpochNumber(2), slots=(replace(SLOTS[0], weight=2), *SLOTS[1:]))
REPORT = FlowReport.of(
    BackendName("b1"), FlowQuestion(WEB, 1, EpochNumber(1)), np.zeros(251, dtype=np.uint16)
)


def test_the_same_change_is_weighed_once() -> None:
    known = Admissions()
    answer = known.admit(FleetView(), BEFORE, TARGET, (BEFORE,))

    assert answer == Admitted(TARGET)
    assert known.admit(FleetView(connected=True), BEFORE, replace(TARGET), (BEFORE,)) is answer


def test_another_target_or_a_new_report_is_weighed_anew() -> None:
    known = Admissions()
    answer = known.admit(FleetView(), BEFORE, TARGET, (BEFORE,))
    reported = FleetView(reports={WEB: {BackendName("b1"): REPORT}})

    assert known.admit(reported, BEFORE, TARGET, (BEFORE,)) is not answer
    other = replace(TARGET, slots=SLOTS)
    assert known.admit(reported, BEFORE, other, (BEFORE,)) == Admitted(other)


def test_what_an_operator_forces_goes_ahead() -> None:
    """Backend 1 would leave the lists of buckets for which nobody can say that it holds nothing."""
    drained = [replace(BEFORE, number=EpochNumber(n), slots=_without(n - 1)) for n in (1, 2, 3)]
    newest, target = drained[-1], replace(BEFORE, number=EpochNumber(4), slots=_without(3))
    forced = FleetView(intents=Intents(forced={WEB: newest.number}))

    assert Admissions().admit(FleetView(), newest, target, tuple(drained)).held != ()
    assert Admissions().admit(forced, newest, target, tuple(drained)) == Admitted(target)


def _without(first: int) -> tuple[EpochSlot, ...]:
    """The slots, the `first` of them draining."""
    return tuple(
        replace(slot, state=BackendState.DRAINING) if slot.number < first else slot for slot in SLOTS
    )
