"""Epochs that this node cannot use as they are stored: damaged, of a newer release, or with a gap before them.

Decides what the leader puts back, when it must leave a pool alone, and what an operator's `--force` makes of it: a
next epoch out of what can be read. Does not decide what a record is read as (`lbnode.store.records`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lbnode.core.history import MissingEpochError, earlier_epochs, seal, with_window
from lbnode.core.writes import RestoreEpoch
from lbnode.model.epoch import KNOWN_ALGORITHMS, Epoch
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.model.view import FleetView

FOUNDATIONS = frozenset({"identity", "desired", "intents", "ids"})
"""Records without which nothing may be derived: a leader that cannot read one of them changes nothing."""

WAY_OUT = "restore it, or go on from what can be read: lbctl apply -f FILE --force"


def unreadable_foundations(view: FleetView) -> Iterator[str]:
    """Yield the problems of records that everything derives from; a backend's holds its id."""
    for problem in view.corrupt:
        path = problem.split(":")[0]
        folder, _, name = path.partition("/")
        if path in FOUNDATIONS or (folder == "backends" and name not in view.backends):
            yield problem


def restorable(view: FleetView, pool: PoolName) -> tuple[RestoreEpoch, ...]:
    """Return the damaged epochs that this node has read before, to be put back."""
    epochs = view.epochs.get(pool, {})
    return tuple(RestoreEpoch(epochs[number]) for number in view.damaged.get(pool, ()) if number in epochs)


def damaged_after(view: FleetView, pool: PoolName, newest: Epoch | None) -> EpochNumber | None:
    """Return the number of an epoch that cannot be read and is newer than all that can; None if there is none."""
    number = max(view.damaged.get(pool, ()), default=None)
    return None if newest is not None and number is not None and number <= newest.number else number


def standstill(view: FleetView, pool: PoolName, newest: Epoch | None) -> str:
    """Return why a pool's next epoch must not follow `newest`, the newest that can be read, or an empty string."""
    if newest is not None and newest.algorithm not in KNOWN_ALGORITHMS:
        return (
            f"epoch {newest.number} needs table algorithm {newest.algorithm}, which this lbnode lacks: nothing is "
            "changed; upgrade this node, or stop it so that another one leads"
        )
    damaged = damaged_after(view, pool, newest)
    if damaged is None or is_forced(view, newest):
        return ""
    way_out = WAY_OUT if newest is not None else "restore it, or remove it and the pool begins anew"
    return f"epoch {damaged} cannot be read: nothing is changed; {way_out}"


def is_forced(view: FleetView, newest: Epoch | None) -> bool:
    """Whether an operator said `--force` while `newest` was the newest: the epoch after it waits for nothing."""
    return newest is not None and view.intents.forced.get(newest.pool) == newest.number


def follow_readable(view: FleetView, newest: Epoch, target: Epoch, wall: float) -> Epoch:
    """Return `target`, which follows `newest`, with as much of the history before it as can be read."""
    window: tuple[Epoch, ...]
    try:
        window = (*earlier_epochs(view.epochs[newest.pool], newest), newest)
    except MissingEpochError:
        window = (newest,)
    return seal(with_window(replace(target, created_at=wall), window[0].number), window)
