from __future__ import annotations

import json

import pytest

from lbnode.lab.report import DrillReport, EventReport, Verdict


def event(what: str = "drain node n1", broken: int = 0, stall: float = 0.1, moved: int = 100) -> EventReport:
    return EventReport(what, broken, stall, 2.345, moved)


def test_the_json_has_the_promised_form() -> None:
    report = DrillReport(500, 0, 9000, (event(stall=0.21234), event("cut links of n2", stall=3.0)))

    told = json.loads(report.as_json())

    assert told["flows"] == 500
    assert told["broken"] == 0
    assert told["longest_stall_s"] == 3.0
    assert told["events"][0] == {
        "what": "drain node n1",
        "broken": 0,
        "longest_stall_s": 0.212,
        "seconds": 2.3,
        "changed_node": 100,
    }


@pytest.mark.parametrize(
    ("broken", "moved", "verdict"),
    [(0, 7, Verdict.HELD), (1, 7, Verdict.BROKEN), (0, 0, Verdict.NOTHING), (1, 0, Verdict.BROKEN)],
)
def test_the_verdict_is_the_exit_status(broken: int, moved: int, verdict: Verdict) -> None:
    report = DrillReport(500, broken, 9000, (event(moved=0), event(moved=moved)))

    assert report.verdict is verdict
    assert [Verdict.HELD.value, Verdict.BROKEN.value, Verdict.NOTHING.value] == [0, 1, 2]


def test_how_flows_broke_is_told_where_they_broke() -> None:
    broken = EventReport("cut links of n2", 3, 9.0, 12.0, 50, {"reset": 1, "stalled": 2})

    assert broken.as_json()["reasons"] == {"reset": 1, "stalled": 2}
    assert "reasons" not in event().as_json()
