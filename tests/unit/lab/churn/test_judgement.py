"""Which flows count as broken: all but those of a backend that the drill let fail, if they were told in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbnode.lab.churn.evidence import Place, Span
from lbnode.lab.churn.flow import Ended, Outcome
from lbnode.lab.churn.judgement import (
    Broken,
    FailedBackend,
    Failure,
    Judgement,
    find_failed,
    has_outlived,
    is_unlisted,
    judge,
)
from lbnode.lab.churn.life import FlowKind
from lbnode.lab.churn.sightings import OTHER_TABLE, Sightings, Switch

PORT, BUCKET = 20000, 3
FAILED_AT, LEFT_AT = 100.0, 102.0
B2 = FailedBackend("b2", 2, FAILED_AT, LEFT_AT, frozenset({7}))
VICTIM = Ended(7, FlowKind.CHATTY, PORT, "b2", 90.0, 100.0, 0.0, 0.1, 5, "", Outcome.CLOSED)


def seen(owner: int) -> Sightings:
    """One node, and all buckets belong to `owner`."""
    tables = {1: np.full((8, 3), owner, dtype=np.uint16)}
    return Sightings(("n1",), (Switch(1.0, "n1", 1),), tables, (), {})


def verdict(flow: Ended, owner: int = 2, failed: tuple[FailedBackend, ...] = (B2,)) -> Judgement:
    return judge([flow], {PORT: BUCKET}, failed, seen(owner))


def test_a_whole_flow_is_no_matter() -> None:
    assert verdict(replace(VICTIM, outcome=Outcome.WHOLE)) == Judgement((), 0, 0)


@pytest.mark.parametrize(
    ("asked_at", "ended_at"), [(0.0, 130.0), (99.9, 104.9), (101.5, 103.4), (120.0, 120.9)]
)
def test_a_victim_that_was_named_and_told_in_time_is_no_break(asked_at: float, ended_at: float) -> None:
    flow = replace(VICTIM, outcome=Outcome.RESET, asked_at=asked_at, ended_at=ended_at)

    assert verdict(flow) == Judgement((), 1, 0)


@pytest.mark.parametrize(("asked_at", "ended_at"), [(99.9, 105.2), (101.5, 103.6), (120.0, 121.1)])
def test_a_victim_that_was_told_too_late_is_a_break(asked_at: float, ended_at: float) -> None:
    flow = replace(VICTIM, outcome=Outcome.RESET, asked_at=asked_at, ended_at=ended_at)

    assert "not told in time" in verdict(flow).broken[0].why


@pytest.mark.parametrize("outcome", [Outcome.STALLED, Outcome.OTHER_SERVER, Outcome.WRONG_BYTES])
def test_a_victim_that_was_told_nothing_or_something_wrong_is_a_break(outcome: Outcome) -> None:
    assert len(verdict(replace(VICTIM, outcome=outcome)).broken) == 1


def test_a_flow_that_was_not_named_is_a_break() -> None:
    flow = replace(VICTIM, number=8)

    assert verdict(flow).broken[0].why == Outcome.CLOSED


def test_a_flow_of_a_backend_that_the_drill_did_not_touch_is_a_break() -> None:
    assert len(verdict(VICTIM, failed=()).broken) == 1


def test_a_new_flow_that_asked_the_failing_backend_is_turned_away() -> None:
    flow = replace(VICTIM, number=9, server="", opened_at=101.0, ended_at=101.1, outcome=Outcome.NOT_OPENED)

    assert verdict(flow) == Judgement((), 0, 1)


def test_a_new_flow_that_was_turned_away_by_another_backend_is_a_break() -> None:
    flow = replace(VICTIM, number=9, server="", opened_at=101.0, ended_at=101.1, outcome=Outcome.NOT_OPENED)

    assert len(verdict(flow, owner=1).broken) == 1


def test_a_new_flow_that_was_turned_away_after_the_epoch_is_a_break() -> None:
    flow = replace(VICTIM, number=9, server="", opened_at=104.0, ended_at=104.1, outcome=Outcome.NOT_OPENED)

    assert len(verdict(flow).broken) == 1


def broken(ended_at: float, *places: Place) -> Broken:
    flow = replace(VICTIM, outcome=Outcome.RESET, opened_at=90.0, ended_at=ended_at)
    return Broken(flow, BUCKET, "reset", places)


BEFORE, AFTER = Place(80.0, "n1", 1, (2, 0, 0)), Place(100.0, "n1", 2, (3, 2, 0))


def test_a_flow_is_promised_nothing_a_window_after_its_backend_lost_the_bucket() -> None:
    assert not has_outlived(broken(109.0, BEFORE, AFTER), 2, 10.0)
    assert has_outlived(broken(110.0, BEFORE, AFTER), 2, 10.0)


def test_a_backend_that_still_owns_the_bucket_is_held_to_its_promise() -> None:
    back = Place(105.0, "n1", 3, (2, 3, 0))

    assert not has_outlived(broken(200.0, BEFORE), 2, 10.0)
    assert not has_outlived(broken(200.0, BEFORE, AFTER, back), 2, 10.0)


def test_a_window_begins_when_the_last_node_has_left_the_backend() -> None:
    alone, back = Place(80.0, "n2", 1, (2, 0, 0)), Place(150.0, "n2", 2, (3, 2, 0))

    assert not has_outlived(broken(140.0, BEFORE, alone, AFTER), 2, 10.0)
    assert not has_outlived(broken(159.0, BEFORE, alone, AFTER, back), 2, 10.0)
    assert has_outlived(broken(160.0, BEFORE, alone, AFTER, back), 2, 10.0)


def test_a_flow_that_nobody_answered_has_outlived_nothing() -> None:
    each = broken(200.0, BEFORE, AFTER)
    assert not has_outlived(replace(each, flow=replace(each.flow, server="")), 0, 10.0)


def test_a_flow_that_only_a_local_view_had_given_to_its_backend_is_promised_nothing() -> None:
    local = Place(80.0, "n1", OTHER_TABLE + 1, (4, 2, 0))

    assert is_unlisted(broken(109.0, local, AFTER), 4)
    assert not is_unlisted(broken(109.0, BEFORE, AFTER), 4)
    assert not is_unlisted(broken(109.0, local, Place(90.0, "n2", 2, (3, 4, 0))), 4)


def test_a_failed_backend_has_left_when_all_nodes_but_those_that_forward_nothing_have_let_it_go() -> None:
    tables = {1: np.full((8, 3), 2, dtype=np.uint16), 2: np.full((8, 3), 3, dtype=np.uint16)}
    switches = (Switch(1.0, "n1", 1), Switch(1.0, "n2", 1), Switch(LEFT_AT, "n1", 2), Switch(130.0, "n2", 2))
    sightings = Sightings(("n1", "n2"), switches, tables, (), {})

    def left_at(*silences: Span) -> float:
        (found,) = find_failed(
            [Failure("b2", FAILED_AT, frozenset({7}))], {"b2": 2}.__getitem__, silences, sightings
        )
        assert replace(found, left_at=LEFT_AT) == B2
        return found.left_at

    assert left_at(("n2", FAILED_AT - 1.0, FAILED_AT + 1.0)) == LEFT_AT
    assert left_at(("n2", 90.0, FAILED_AT - 1.0)) == 130.0, "it forwards again"
    assert left_at() == 130.0


def test_a_backend_that_some_node_never_lets_go_has_not_left() -> None:
    (found,) = find_failed([Failure("b2", FAILED_AT, frozenset())], {"b2": 2}.__getitem__, (), seen(owner=2))

    assert found.left_at == float("inf")
