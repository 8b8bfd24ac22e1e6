"""What the drill of changes tells."""

from __future__ import annotations

import json

import pytest

from lbnode.lab.changes.report import ChangeReport, ChangesReport, spread_ms
from lbnode.lab.changes.stages import Course
from lbnode.lab.report import Verdict


def change(seconds: float | None, held: bool = False, laggards: tuple[str, ...] = ()) -> ChangeReport:
    went = Course((0.01, 0.02, None, None, None, seconds), laggards)
    return ChangeReport("drain b2", "n1", 7, seconds, held, went)


def report(*changes: ChangeReport) -> ChangesReport:
    return ChangesReport(8, 8, 0.5, changes, {"node": 0.2, "backend": 0.1, "store": 0.02})


def test_the_figure_is_of_the_changes_that_nothing_held() -> None:
    told = json.loads(report(change(0.1), change(0.2), change(0.3), change(9.0, held=True)).as_json())

    assert told["every_kernel_ms"] == {"median": 200.0, "p90": 300.0, "p99": 300.0, "longest": 300.0}
    assert told["held"] == 1
    assert told["cpu_ms_a_change"] == {"node": 50.0, "backend": 25.0, "store": 5.0}
    assert told["each"][0]["stages_ms"] == {"written": 10.0, "offered": 10.0}


def test_a_percentile_is_a_time_that_was_measured() -> None:
    spread = spread_ms([number / 1000 for number in range(1, 201)])

    assert spread == {"median": 100.5, "p90": 180.0, "p99": 198.0, "longest": 200.0}


def test_who_was_not_waited_for_is_counted() -> None:
    told = report(change(0.3, laggards=("node n3",)), change(0.3, laggards=("node n3", "backend b1")))

    assert told.laggards == {"node n3": 2, "backend b1": 1}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ((change(0.1),), Verdict.HELD),
        ((change(0.1), change(None)), Verdict.BROKEN),
        ((change(2.0, held=True),), Verdict.NOTHING),
    ],
)
def test_a_change_that_never_reached_every_kernel_is_a_failure(
    changes: tuple[ChangeReport, ...], verdict: Verdict
) -> None:
    assert report(*changes).verdict is verdict
