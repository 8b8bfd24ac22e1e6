"""Ten thousand random histories of a pool, each with its own flows, changes, failures and windows.

Here and not among the unit tests for its length alone (half a minute of every core): nothing but `ring` takes part.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.unit.ring.world import live_through

SEQUENCES = 10_000
PART = 500


@pytest.mark.timeout(400)
def test_no_sequence_of_events_leaves_a_living_flow_without_its_backend_in_a_list() -> None:
    parts = [range(first, first + PART) for first in range(SEQUENCES, 2 * SEQUENCES, PART)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        lives = list(workers.map(live_through, parts))
    events = sum(lives, Counter[str]())
    assert len(lives) * PART == SEQUENCES
    assert events["held"] > SEQUENCES
    assert events["second chances"] > 10 * SEQUENCES
