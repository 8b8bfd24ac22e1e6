"""What a pool's earlier epochs still mean: the window, who may hold flows of it, and the table that follows.

Decides: which earlier epochs count, who of their owners may be an alternate, and when the window may close. Does
not decide what the next epoch contains (`lbnode.core.epochs`) nor whether it must wait (`lbnode.core.admission`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lbnode.model.epoch import REBUILT, BackendState, Epoch, EpochSlot, FormerOccupant
from lbnode.model.ids import BackendId, EpochNumber
from ring import table
from ring.slots import Slot

COARSENESS = 20
"""A window of so many parts: ends that fall into one part are closed by one epoch."""


class MissingEpochError(Exception):
    """An epoch of the window is not known here, so the table cannot be built."""


@dataclass(frozen=True, slots=True)
class Living:
    """Who may be an alternate, by backend id.

    `preferred` may hold flows that go on; `last_resort` are failed, but answer (their own stack ends the flow) and
    fill free places only; `keyless` have no agent, so nothing can be passed on from them.
    """

    preferred: frozenset[int]
    last_resort: frozenset[int]
    keyless: frozenset[int]


def earlier_epochs(epochs: Mapping[EpochNumber, Epoch], epoch: Epoch) -> tuple[Epoch, ...]:
    """Return the epochs whose owners may be alternates in `epoch`, oldest first. Raises MissingEpochError."""
    numbers = range(epoch.window_from, epoch.number)
    missing = [number for number in numbers if number not in epochs]
    if missing:
        raise MissingEpochError(
            f"epoch {epoch.number} of pool {epoch.pool} needs epoch {missing[0]}, which is not in the store"
        )
    return tuple(epochs[EpochNumber(number)] for number in numbers)


def living(epoch: Epoch) -> Living:
    """Return who may be an alternate by what `epoch` says of its occupants and former occupants."""
    present: list[EpochSlot | FormerOccupant] = [*epoch.slots, *epoch.former]
    known = [(entry.backend, entry) for entry in present if entry.backend is not None]
    failed = {backend for backend, entry in known if entry.state is BackendState.FAILED}
    well = {backend for backend, entry in known if entry.state is not BackendState.FAILED}
    answering = {backend for backend, entry in known if entry.answers}
    return Living(
        preferred=frozenset(well),
        last_resort=frozenset((failed & answering) - well),
        keyless=frozenset(backend for backend, entry in known if not entry.agent),
    )


def remaining(epoch: Epoch) -> frozenset[BackendId]:
    """Return who may hold flows of the pool, whoever their buckets belong to now."""
    alive = living(epoch)
    return frozenset(map(BackendId, alive.preferred | alive.last_resort))


def failed(epoch: Epoch) -> frozenset[BackendId]:
    """Return who has failed, among occupants and former ones."""
    present: list[EpochSlot | FormerOccupant] = [*epoch.slots, *epoch.former]
    return frozenset(each.backend for each in present if each.backend and each.state is BackendState.FAILED)


def ring_slots(epoch: Epoch) -> tuple[Slot, ...]:
    """Return an epoch's slots as the values that `ring` builds tables from.

    The comparison algorithm REBUILT leaves out who does not serve: the whole table is built anew each time.
    """
    slots = tuple(
        Slot(
            slot.number,
            slot.weight,
            slot.backend or 0,
            slot.backend is not None and slot.state is BackendState.ACTIVE,
        )
        for slot in epoch.slots
    )
    return tuple(slot for slot in slots if slot.active) if epoch.algorithm == REBUILT else slots


def build_table(epoch: Epoch, earlier: Sequence[Epoch] = ()) -> table.Table:
    """Return the table of `epoch`; `earlier` are its `earlier_epochs`."""
    return table.build(*_makings(epoch, earlier))


def explain_bucket(bucket: int, epoch: Epoch, earlier: Sequence[Epoch] = ()) -> table.Explanation:
    """Return what `build_table` decides for one bucket, and why."""
    return table.explain(bucket, *_makings(epoch, earlier))


def _makings(epoch: Epoch, earlier: Sequence[Epoch]) -> tuple[Any, ...]:
    """What a table is made of, as `ring.table` takes it."""
    alive = living(epoch)
    return (
        epoch.table_size,
        epoch.seed,
        ring_slots(epoch),
        [ring_slots(before) for before in earlier],
        alive.preferred,
        alive.last_resort,
        alive.keyless,
    )


def seal(epoch: Epoch, earlier: Sequence[Epoch] = ()) -> Epoch:
    """Return the epoch with the digest that its table has."""
    return replace(epoch, digest=build_table(epoch, earlier).digest())


def window_from(
    epochs: Mapping[EpochNumber, Epoch], newest: Epoch, is_same: bool, wall: float, window_s: float
) -> EpochNumber:
    """Return where the window of the epoch after `newest` begins.

    An epoch's owners stop owning when the next epoch is created; from then on they count for `window_s`. `is_same`
    says that the next epoch has the owners of `newest`, which then need no place in the history.
    """
    for number in range(newest.window_from, _unchanged_since(epochs, newest)):
        successor = epochs.get(EpochNumber(number + 1))
        if successor is None or wall < successor.created_at + window_s:
            return EpochNumber(number)
    return EpochNumber(newest.number + 1) if is_same else newest.number


def with_window(epoch: Epoch, begin: EpochNumber) -> Epoch:
    """Return `epoch` with its window from `begin` on; who left before that counts no more."""
    former = tuple(entry for entry in epoch.former if entry.left_in > begin)
    return replace(epoch, window_from=begin, former=former)


def closes_at(epochs: Mapping[EpochNumber, Epoch], newest: Epoch, window_s: float) -> float | None:
    """Return when (wall clock) an epoch should be offered that closes a part of the window; None if it is closed."""
    successor = epochs.get(EpochNumber(newest.window_from + 1))
    if successor is None or newest.window_from >= _unchanged_since(epochs, newest):
        return None
    return max(successor.created_at + window_s, newest.created_at + window_s / COARSENESS)


def _unchanged_since(epochs: Mapping[EpochNumber, Epoch], newest: Epoch) -> EpochNumber:
    """Return the first of the epochs up to `newest` that all have its owners: none of them is history."""
    number, slots = newest.number, ring_slots(newest)
    while number > newest.window_from:
        before = epochs.get(EpochNumber(number - 1))
        if before is None or ring_slots(before) != slots:
            break
        number = before.number
    return number
