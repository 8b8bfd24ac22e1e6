"""Grace periods: what has gone out of use may be written again once no packet under way can still read it."""

from __future__ import annotations

import os
import time

from lbnode.dataplane.grace import Grace


def test_nothing_is_waited_for_that_was_never_in_use() -> None:
    assert Grace().passed == 0


def test_each_thing_that_is_retired_has_its_own_period() -> None:
    grace = Grace()
    first, second = grace.retire(), grace.retire()
    assert first < second
    grace.ensure_after(first)
    assert grace.passed >= first
    grace.ensure_after(second)
    assert grace.passed == second


def test_a_period_that_began_before_does_not_count() -> None:
    grace = Grace()
    grace.ensure_after(grace.retire())
    last = grace.retire()
    grace.ensure_all()
    assert grace.passed == last


def test_periods_pass_without_anybody_waiting() -> None:
    grace = Grace()
    number = grace.retire()
    deadline = time.monotonic() + 10
    while grace.passed < number:
        assert time.monotonic() < deadline
        os.sched_yield()
