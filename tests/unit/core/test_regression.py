from __future__ import annotations

from dataclasses import replace

from lbnode.core.regression import regression
from lbnode.model.view import FleetView

from .fleets import current, drain, fleet, holding, numbered, settle, view_of


def fleet_after(*changes: tuple[str, ...]) -> FleetView:
    """A fleet whose backends were drained in steps, a second apart."""
    view = settle(view_of(fleet("b1", "b2", "b3")), wall=1.0)
    for second, names in enumerate(changes, 2):
        view = settle(drain(view, *names), wall=float(second))
    return view


def test_a_store_that_went_on_is_believed() -> None:
    assert regression(fleet_after(), fleet_after(("b1",))) == ""
    assert regression(fleet_after(("b1",)), fleet_after(("b1",))) == ""
    assert regression(FleetView(), fleet_after()) == ""


def test_a_store_with_older_epochs_is_not() -> None:
    reason = regression(fleet_after(("b1",), ("b2",)), fleet_after(("b1",)))
    assert "epoch 2 of pool web is older than epoch 3" in reason
    assert "old backup" in reason


def test_a_store_with_an_older_wish_is_not() -> None:
    known = replace(fleet_after(), desired_version=7)
    assert "version 6" in regression(known, replace(known, desired_version=6))
    known = replace(fleet_after(), intents_version=7)
    assert "intents" in regression(known, replace(known, intents_version=6))


def test_a_pool_that_was_retired_and_made_anew_is_no_regression() -> None:
    known = fleet_after(("b1",), ("b2",))
    anew = replace(numbered(current(known), 1), created_at=99.0)
    assert regression(known, holding(known, anew, using=1)) == ""
