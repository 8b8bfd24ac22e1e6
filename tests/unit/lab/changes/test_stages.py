"""Where the time of a change goes, from what the daemons logged."""

from __future__ import annotations

import pytest

from lbnode.lab.changes.stages import course, read

LEADER = """\
2026-11-23T09:00:00.100000Z [info     ] elected leader                 node=n1
2026-11-23T09:00:01.030000Z [info     ] epoch offered                  digest=00ff epoch=7 pool=web
2026-11-23T09:00:01.090000Z [info     ] epoch current    epoch=7 pool=web without=('backend b2', 'node n3')
2026-11-23T09:00:01.095000Z [info     ] table in use                   epoch=7 pool=web
"""
AGENT = "2026-11-23T09:00:01.0{}0000Z [info     ] table in use                   epoch=7 pool=web\n"
ORDER_AT = 1_795_424_401.0


def test_each_stage_lasts_from_the_end_of_the_one_before() -> None:
    said = [
        *read("n1", LEADER.splitlines()),
        *read("b1", AGENT.format(5).splitlines()),
        *read("b2", AGENT.format(7).splitlines()),
    ]

    went = course(
        7, ORDER_AT, ORDER_AT + 0.01, said, ["b1", "b2"], {"n1": ORDER_AT + 0.095, "n2": ORDER_AT + 0.12}
    )

    assert went.durations() == pytest.approx(
        {
            "written": 0.01,
            "offered": 0.02,
            "loaded": 0.04,
            "current": 0.02,
            "first kernel": 0.005,
            "every kernel": 0.025,
        },
        abs=1e-5,
    )
    assert went.laggards == ("backend b2", "node n3")


def test_a_stage_that_nobody_logged_is_not_told() -> None:
    went = course(7, ORDER_AT, ORDER_AT + 0.01, read("n1", LEADER.splitlines()[:2]), ["b1"], {})

    assert set(went.durations()) == {"written", "offered"}


def test_other_epochs_and_other_lines_are_passed_over() -> None:
    went = course(8, ORDER_AT, ORDER_AT + 0.01, read("n1", LEADER.splitlines()), ["b1"], {})

    assert set(went.durations()) == {"written"}
    assert went.laggards == ()
