from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbnode.core.health import Verdict, limit_failures, majority, observe
from lbnode.model.fleet import HealthCheck

CHECK = HealthCheck(port=80, rise=2, fall=3)


def after(results: str, verdict: Verdict | None = None) -> bool | None:
    """The verdict after results written as '+' (success) and '-' (failure)."""
    verdict = verdict or Verdict()
    for result in results:
        verdict = observe(verdict, result == "+", CHECK)
    return verdict.up


def test_nothing_is_known_before_the_first_result() -> None:
    assert after("") is None


def test_the_first_success_is_enough_for_an_unknown_backend() -> None:
    assert after("+") is True
    assert after("--+") is True


def test_fall_failures_in_a_row_take_a_backend_down_and_fewer_do_not() -> None:
    assert after("+--") is True
    assert after("+--+--") is True
    assert after("+---") is False
    assert after("---") is False


def test_rise_successes_in_a_row_bring_it_back_and_fewer_do_not() -> None:
    assert after("---+") is False
    assert after("---+-+") is False
    assert after("---++") is True


def test_most_nodes_decide_and_a_tie_changes_nothing() -> None:
    assert majority([True, True, False], before=False) is True
    assert majority([False, False, True], before=True) is False
    assert majority([True, False], before=False) is False
    assert majority([], before=None) is None


def test_health_stops_at_the_cap_in_slot_order() -> None:
    removals = limit_failures([1, 2, 3, 4], frozenset({2, 3, 4}), frozenset(), 50)
    assert removals.failed == {2, 3}
    assert removals.withheld == {4}


def test_who_failed_first_stays_failed_when_another_joins_beyond_the_cap() -> None:
    removals = limit_failures([1, 2, 3, 4], frozenset({1, 3, 4}), frozenset({3, 4}), 50)
    assert removals.failed == {3, 4}
    assert removals.withheld == {1}


def test_when_all_are_down_nobody_is_withheld() -> None:
    removals = limit_failures([1, 2], frozenset({1, 2}), frozenset(), 50)
    assert removals.all_down
    assert removals.failed == {1, 2}


def test_one_of_two_may_fail_although_a_third_of_two_is_less_than_one() -> None:
    assert limit_failures([1, 2], frozenset({1}), frozenset(), 33).failed == {1}


@given(
    st.lists(st.integers(1, 40), unique=True, min_size=1),
    st.frozensets(st.integers(1, 40)),
    st.integers(1, 100),
)
def test_health_never_removes_more_than_the_cap_of_a_healthy_pool(
    members: list[int], down: frozenset[int], cap: int
) -> None:
    removals = limit_failures(members, down, frozenset(), cap)
    assert removals.failed | removals.withheld == down & frozenset(members)
    if not removals.all_down:
        assert len(removals.failed) <= max(1, len(members) * cap // 100)
