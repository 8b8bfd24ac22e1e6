"""Which planned changes go ahead now, and which wait for flows that they would break.

Decides: a change (drain, undrain, weight, add, replace, remove, recovery) waits while it would push a living earlier
owner out of the alternates of a bucket in which that backend holds flows, or cannot say that it holds none. All
that is pending is tried together first, then slot by slot, so that one held change does not hold the others.
Failures are never held. Does not decide what the changes are (`lbnode.core.epochs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lbnode.core.epochs import with_slots
from lbnode.core.history import living, ring_slots
from lbnode.model.epoch import REBUILT, BackendState, Epoch, EpochSlot
from lbnode.model.ids import BackendId, SlotNumber
from ring.admission import Pushed, judge, pushed_out
from ring.slots import Lineup, line_up

Flows = Mapping[BackendId, NDArray[np.uint16]]
"""Flows by bucket of each backend that has reported since the last switch."""
FailedLeavers = Mapping[BackendId, bool]
"""Who is to leave its slot and fails there if it may not leave yet: whether its agent is connected."""
NO_LEAVERS: FailedLeavers = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Held:
    """A slot whose planned change waits: `before` and `after`, and for how many flows on whom (None: unknown)."""

    before: EpochSlot | None
    after: EpochSlot
    waits_for: Mapping[BackendId, int | None]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What may be offered now (`epoch`, whose slots may be those of the one before) and what is held.

    `must_ask` says that agents had to be asked: a held change may go ahead once they have answered.
    """

    epoch: Epoch
    held: tuple[Held, ...] = ()
    must_ask: bool = False


def admit(
    before: Epoch,
    target: Epoch,
    window: Sequence[Epoch],
    flows: Flows,
    failed_leavers: FailedLeavers = NO_LEAVERS,
) -> Admitted:
    """Return as much of the way from `before` to `target` as breaks no flow.

    `window` are the epochs that still count, oldest first, `before` the last of them.
    """
    base = _failures_only(before, target, failed_leavers)
    planned = planned_slots(base, target)
    if not planned or target.algorithm == REBUILT:
        return Admitted(target)
    history = history_of(window)
    found = pushed(target, history)
    lost = pushed(with_slots(target, before, base), history) if found else {}
    waits_for = _objections(found, flows, lost)
    if not waits_for:
        return Admitted(target)
    if len(planned) == 1:
        return Admitted(
            with_slots(target, before, base), (_held(before, planned[0], waits_for),), must_ask=True
        )
    return _one_by_one(before, target, base, planned, history, flows, lost)


def history_of(window: Sequence[Epoch]) -> list[Lineup]:
    """Return the line-ups of a window's epochs, in their order."""
    return [line_up(ring_slots(epoch)) for epoch in window]


def pushed(candidate: Epoch, history: Sequence[Lineup]) -> Pushed:
    """Return where living earlier owners would be neither owner nor alternate: backend → buckets."""
    return pushed_out(
        candidate.table_size,
        candidate.seed,
        history,
        ring_slots(candidate),
        living(candidate).preferred,
    )


def _objections(found: Pushed, flows: Flows, lost: Pushed) -> dict[BackendId, int | None]:
    """Return the backends that are pushed out of buckets with flows: how many, None if it cannot say.

    `lost` are places that are gone whatever is planned: flows there are not broken by a planned change.
    """
    avoidable = {
        number: buckets & ~lost[number] if number in lost else buckets for number, buckets in found.items()
    }
    holding = judge(avoidable, {number: flows.get(BackendId(number)) for number in avoidable})
    return {BackendId(number): count for number, count in holding.items()}


def is_planned(before: Epoch, target: Epoch) -> bool:
    """Whether something of the way from `before` to `target` was planned, and not only observed."""
    return bool(planned_slots(_failures_only(before, target, NO_LEAVERS), target))


def planned_slots(base: Sequence[EpochSlot], target: Epoch) -> list[EpochSlot]:
    """Return the slots of `target` that differ from `base` by more than what is merely observed."""
    known = {slot.number: slot for slot in base}
    return [slot for slot in target.slots if slot.number not in known or _differs(known[slot.number], slot)]


def _one_by_one(
    before: Epoch,
    target: Epoch,
    base: tuple[EpochSlot, ...],
    planned: Sequence[EpochSlot],
    history: Sequence[Lineup],
    flows: Flows,
    lost: Pushed,
) -> Admitted:
    accepted, held = base, []
    for slot in planned:
        trial = _with(accepted, slot)
        waits_for = _objections(pushed(with_slots(target, before, trial), history), flows, lost)
        if waits_for:
            held.append(_held(before, slot, waits_for))
        else:
            accepted = trial
    return Admitted(with_slots(target, before, accepted), tuple(held), must_ask=bool(held))


def _failures_only(before: Epoch, target: Epoch, failed_leavers: FailedLeavers) -> tuple[EpochSlot, ...]:
    """The slots of `before` with what nobody planned: who has failed, whose agent came or went."""
    wanted = {slot.number: slot for slot in target.slots}
    return tuple(_observed(slot, wanted.get(slot.number), failed_leavers) for slot in before.slots)


def _observed(slot: EpochSlot, wanted: EpochSlot | None, failed_leavers: FailedLeavers) -> EpochSlot:
    if slot.backend is not None and slot.backend in failed_leavers:
        return replace(slot, state=BackendState.FAILED, answers=failed_leavers[slot.backend])
    if wanted is None or wanted.backend != slot.backend:
        return slot
    slot = replace(slot, agent=wanted.agent)
    if wanted.state is BackendState.FAILED:
        return replace(slot, state=BackendState.FAILED, answers=wanted.answers)
    return slot


def _differs(one: EpochSlot, other: EpochSlot) -> bool:
    return (one.backend, one.weight, one.state) != (other.backend, other.weight, other.state)


def _with(slots: Sequence[EpochSlot], changed: EpochSlot) -> tuple[EpochSlot, ...]:
    """The slots with one of them replaced or added; a backend that moves leaves its old slot empty."""
    kept = {slot.number: slot for slot in slots}
    for number, slot in kept.items():
        if number != changed.number and slot.backend is not None and slot.backend == changed.backend:
            kept[number] = replace(slot, backend=None, state=BackendState.FAILED)
    kept[changed.number] = changed
    return tuple(kept[number] for number in sorted(kept))


def _held(before: Epoch, after: EpochSlot, waits_for: Mapping[BackendId, int | None]) -> Held:
    slots: dict[SlotNumber, EpochSlot] = {slot.number: slot for slot in before.slots}
    return Held(slots.get(after.number), after, dict(waits_for))
