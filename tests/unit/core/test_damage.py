"""Epochs that cannot be read, of another release, or with a gap before them: nothing is lost, all have a way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnode.core.history import build_table, earlier_epochs
from lbnode.core.leader import Decision, Leader
from lbnode.core.writes import RestoreEpoch
from lbnode.model.ids import BackendName, EpochNumber
from lbnode.model.view import FleetView

from .fleets import WEB, current, drain, fleet, settle, view_of

ALL = ("b1", "b2", "b3")


def three_epochs() -> FleetView:
    """Current is epoch 3: b1 was drained and undrained."""
    view = settle(view_of(fleet(*ALL)))
    return settle(drain(settle(drain(view, "b1")), ""))


def without(view: FleetView, *numbers: int) -> FleetView:
    """The view of somebody who has never read these epochs."""
    kept = {number: epoch for number, epoch in view.epochs[WEB].items() if number not in numbers}
    named = {} if view.current[WEB] in numbers else view.current
    return replace(view, epochs={WEB: kept}, current=named)


def damaged(view: FleetView, number: int) -> FleetView:
    """The same, while their records are there and spoilt."""
    return replace(without(view, number), damaged={WEB: (EpochNumber(number),)})


def forced(view: FleetView) -> FleetView:
    newest = view.newest(WEB)
    assert newest is not None
    return replace(view, intents=replace(view.intents, forced={WEB: newest.number}))


def ask(view: FleetView) -> Decision:
    return Leader().handle(view, 0.0, 0.0)


def test_a_damaged_epoch_that_was_read_before_is_put_back() -> None:
    view = three_epochs()
    spoilt = replace(view, damaged={WEB: (EpochNumber(2), EpochNumber(3))})
    epochs = view.epochs[WEB]
    assert ask(spoilt).commands == (
        RestoreEpoch(epochs[EpochNumber(2)]),
        RestoreEpoch(epochs[EpochNumber(3)]),
    )
    assert settle(spoilt) == replace(view, damaged={WEB: ()})


def test_a_damaged_newest_epoch_is_neither_turned_back_nor_passed_over() -> None:
    decision = ask(drain(damaged(three_epochs(), 3), "b2"))
    assert decision.commands == ()
    assert decision.alarms == (
        "pool web: epoch 3 cannot be read: nothing is changed; "
        "restore it, or go on from what can be read: lbctl apply -f FILE --force",
    )


def test_with_force_another_epoch_takes_the_place_of_the_damaged_one() -> None:
    view = settle(forced(damaged(drain(three_epochs(), "b2"), 3)))
    epoch = current(view)
    assert epoch.number == 3
    assert epoch.digest == build_table(epoch, earlier_epochs(view.epochs[WEB], epoch)).digest()
    assert [slot.state.value for slot in epoch.slots] == ["active", "draining", "active"]


def test_a_pool_whose_only_epoch_is_damaged_begins_anew_once_the_record_is_removed() -> None:
    view = settle(view_of(fleet(*ALL)))
    spoilt = damaged(view, 1)
    assert ask(spoilt) == Decision(
        alarms=(
            "pool web: epoch 1 cannot be read: nothing is changed; restore it, or remove it and the pool begins anew",
        )
    )
    assert current(settle(replace(spoilt, damaged={}))) == current(view)


def test_a_gap_in_the_window_stands_still_and_with_force_the_history_begins_after_it() -> None:
    view = drain(without(three_epochs(), 2), "b2")
    decision = ask(view)
    assert decision.commands == ()
    assert "needs epoch 2, which is not in the store: nothing is changed" in decision.alarms[0]
    assert "--force" in decision.alarms[0]
    epoch = current(settle(forced(view)))
    assert (epoch.number, epoch.window_from) == (4, 3)


def test_a_leader_of_an_older_release_leaves_the_fleet_alone() -> None:
    view = three_epochs()
    newer = replace(current(view), number=EpochNumber(4), algorithm=7)
    view = replace(view, epochs={WEB: {**view.epochs[WEB], newer.number: newer}})
    for seen in (drain(view, "b2"), forced(drain(view, "b2"))):
        decision = ask(seen)
        assert decision.commands == ()
        assert "epoch 4 needs table algorithm 7, which this lbnode lacks" in decision.alarms[0]
        assert "upgrade this node" in decision.alarms[0]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_backend_whose_record_is_damaged_gets_no_other_id(is_known: bool) -> None:
    view = three_epochs()
    backends = view.backends if is_known else {n: b for n, b in view.backends.items() if n != "b2"}
    spoilt = replace(drain(view, "b3"), backends=backends, corrupt=("backends/b2: not JSON",))
    if is_known:
        assert current(settle(spoilt)).slots[1].backend == view.backends[BackendName("b2")].id
    else:
        assert ask(spoilt) == Decision(alarms=("backends/b2: not JSON",))
