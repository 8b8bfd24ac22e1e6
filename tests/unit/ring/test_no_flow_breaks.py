"""The promise itself: with admission, no flow of a living backend is ever without its backend in its list."""

from __future__ import annotations

from tests.unit.ring.world import PLANNED, World, live_through

SEQUENCES = 200
"""10,000 more are run by tests/integration/ring."""


def test_no_planned_change_and_no_failure_breaks_a_flow_of_a_living_backend() -> None:
    events = live_through(range(SEQUENCES))
    for event in (*PLANNED, "failure", "held", "drain ended", "window closed", "second chances"):
        assert events[event] > SEQUENCES / 20, f"{event} hardly ever happened: {events}"


def test_without_admission_the_same_changes_break_flows() -> None:
    """So the test above can fail."""
    broken = 0
    for seed in range(100):
        world = World(seed, admission=False)
        world.run()
        broken += world.broken
    assert broken > 100
