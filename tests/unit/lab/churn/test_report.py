"""What a churn drill proves, and what it tells."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lbnode.lab.churn.evidence import Place
from lbnode.lab.churn.flow import Ended, Outcome
from lbnode.lab.churn.judgement import Broken
from lbnode.lab.churn.life import FlowKind
from lbnode.lab.churn.report import Change, ChurnReport, EventReport, Hold, Moved
from lbnode.lab.churn.schedule import Kind, Planned
from lbnode.lab.report import Verdict

DRAIN = EventReport(Planned(1, 0.0, Kind.DRAIN_BACKEND, ("b1",), 9.0), 0.5, 10.0, 7)
HELD = ChurnReport(
    seed=3,
    alive=2000,
    flows=9000,
    kinds={"idle": 9000},
    exchanges=20000,
    longest_wait_s=3.2,
    broken=(),
    victims=0,
    refused=0,
    moved=Moved(0.5, 0.4, 0.2),
    second_chances={"forwarded_keyed": 7},
    extra_hops=7,
    holds=(Hold("drain b1", 4.0, {"b2": 12}),),
    changes=(
        Change("1 drain b1", 4, 0.1, held=False, planned=True),
        Change("1 undrain b1", 5, 0.3, held=False, planned=True),
        Change("2 drain b2", 6, 9.0, held=True, planned=True),
        Change("3 fail b3", 7, 2.0, held=False, planned=False),
    ),
    events=(DRAIN,),
    isolated="n4",
    isolated_share=0.2,
    differing=(),
    epochs=7,
    seconds=300.0,
    crowd_cpu=0.1,
    began_at=1000.0,
)
FLOW = Ended(5, FlowKind.IDLE, 20000, "b1", 990.0, 1004.0, 1003.5, 0.5, 1, "", Outcome.RESET)


def test_a_drill_that_broke_nothing_and_moved_enough_has_held() -> None:
    assert HELD.verdict is Verdict.HELD
    assert HELD.unproved == ()


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (replace(HELD, moved=Moved(0.29, 0.4, 0.2)), "29.0% of the flows changed node"),
        (replace(HELD, moved=Moved(0.5, 0.29, 0.2)), "29.0% of the flows changed owner"),
        (replace(HELD, moved=Moved(0.5, 0.4, 0.04)), "4.0% of the flows changed both"),
        (replace(HELD, isolated_share=0.09), "n4 carried 9.0% of the packets"),
        (
            replace(HELD, events=(replace(DRAIN, second_chances=0),)),
            "no second chance through: drain backend",
        ),
        (
            replace(HELD, events=(replace(DRAIN, failed="b1 to be draining: not within 9 s"),)),
            "1 drain backend b1: b1 to be",
        ),
    ],
)
def test_a_drill_in_which_too_little_happened_proves_nothing(report: ChurnReport, reason: str) -> None:
    assert report.verdict is Verdict.NOTHING
    assert report.unproved[0].startswith(reason)


def test_a_broken_flow_is_told_with_what_was_under_way() -> None:
    place = Place(1002.0, "n1", 4, (2, 1, 0))
    report = replace(HELD, broken=(Broken(FLOW, 77, "reset", (place,)),))

    told = json.loads(report.as_json())

    assert report.verdict is Verdict.BROKEN
    assert (told["broken"], told["reasons"]) == (1, {"reset": 1})
    assert told["broken_flows"][0] == {
        "flow": 5,
        "kind": "idle",
        "server": "b1",
        "port": 20000,
        "bucket": 77,
        "why": "reset",
        "note": "",
        "at_s": 4.0,
        "lived_s": 14.0,
        "waited_s": 0.5,
        "during": ["1 drain backend b1"],
        "tables": [[2.0, "n1", 4, 2, 1, 0]],
    }


def test_the_time_to_every_kernel_leaves_out_what_was_held_and_what_failed() -> None:
    assert HELD.spread_ms() == (200.0, 300.0)
    assert json.loads(HELD.as_json())["every_kernel_ms"] == {"median": 200.0, "p99": 300.0}


def test_without_changes_there_is_no_time_to_tell() -> None:
    assert replace(HELD, changes=()).spread_ms() is None


def test_the_longest_hold_is_told() -> None:
    told = json.loads(HELD.as_json())

    assert told["longest_hold_s"] == 4.0
    assert told["held"] == [{"what": "drain b1", "seconds": 4.0, "waited_for": {"b2": 12}}]
