"""Ten thousand random histories of a pool, each with its own flows, changes, failures and windows.

Here and not among the unit tests for its length alone (under a minute): nothing but `ring` takes part.
"""

from __future__ import annotations

import pytest

from tests.unit.ring.world import live_through

SEQUENCES = 10_000
PART = 1_000


@pytest.mark.parametrize("first", range(SEQUENCES, 2 * SEQUENCES, PART))
def test_no_sequence_of_events_leaves_a_living_flow_without_its_backend_in_a_list(first: int) -> None:
    events = live_through(range(first, first + PART))
    assert events["held"] > PART
    assert events["second chances"] > 10 * PART
