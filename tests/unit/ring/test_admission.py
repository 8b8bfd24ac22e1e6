"""Admission: what a planned change would push out of the lists, and what it waits for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.admission import judge, pushed_out
from ring.errors import RingError
from ring.slots import Slot
from ring.table import build
from tests.unit.ring.pools import SEED, equal_slots, histories, owners, seeds, sizes, without

EVERYBODY = range(1, 9)


@given(epochs=histories(), size=sizes, seed=seeds, living=st.sets(st.integers(1, 8)))
def test_pushed_out_are_the_living_earlier_owners_that_no_list_names(
    epochs: list[list[Slot]], size: int, seed: int, living: set[int]
) -> None:
    *history, candidate = epochs
    table = build(size, seed, candidate, history, living)
    listed = np.stack([table.owners, table.first, table.second])
    expected: dict[int, set[int]] = {}
    for slots in history:
        for bucket, backend in enumerate(owners(slots, size, seed).tolist()):
            if backend in living and backend not in listed[:, bucket]:
                expected.setdefault(backend, set()).add(bucket)
    found = pushed_out(size, seed, history, candidate, living)
    assert {backend: set(np.flatnonzero(buckets).tolist()) for backend, buckets in found.items()} == expected


def test_the_owner_of_today_is_never_pushed_out() -> None:
    """It is the latest earlier owner of all that it loses."""
    slots = equal_slots(6)
    history = [slots, without(slots, 1), without(slots, 1, 2), slots]
    for backend in range(1, 7):
        found = pushed_out(251, SEED, history, without(slots, backend), EVERYBODY)
        assert not found.get(backend, np.zeros(251)).any()


def test_two_changes_push_nobody_out_and_the_third_does() -> None:
    slots = equal_slots(6)
    epochs = [slots, without(slots, 1), without(slots, 1, 2), without(slots, 1, 2, 3)]
    assert pushed_out(251, SEED, epochs[:2], epochs[2], EVERYBODY) == {}
    found = pushed_out(251, SEED, epochs[:3], epochs[3], EVERYBODY)
    expected = (owners(slots) == 1) & (owners(epochs[1]) == 2) & (owners(epochs[2]) == 3)
    assert list(found) == [1]
    assert np.array_equal(found[1], expected)
    assert expected.any()


def test_a_backend_that_has_failed_holds_nothing() -> None:
    slots = equal_slots(6)
    history = [slots, without(slots, 1), without(slots, 1, 2)]
    assert pushed_out(251, SEED, history, without(slots, 1, 2, 3), {2, 3, 4, 5, 6}) == {}


def test_a_closed_window_frees_what_was_held() -> None:
    slots = equal_slots(6)
    history = [slots, without(slots, 1), without(slots, 1, 2)]
    assert pushed_out(251, SEED, history[1:], without(slots, 1, 2, 3), EVERYBODY) == {}


def test_a_change_waits_for_flows_in_the_buckets_it_takes_and_no_others() -> None:
    buckets = np.array([True, True, False, False])
    pushed = {7: buckets, 3: buckets, 5: ~buckets}
    flows = {7: np.array([200, 12, 5, 0]), 3: np.array([0, 0, 9, 9]), 5: np.array([1, 1, 0, 4])}
    assert judge(pushed, flows) == {5: 4, 7: 212}


def test_a_change_waits_for_a_backend_that_cannot_tell() -> None:
    assert judge({4: np.array([True, False])}, {4: None}) == {4: None}
    assert judge({4: np.array([True, False])}, {}) == {4: None}


def test_nobody_pushed_out_means_go_ahead() -> None:
    assert judge({}, {}) == {}
    assert judge({4: np.array([False, False])}, {}) == {}


def test_many_full_counters_do_not_wrap_around() -> None:
    counts = np.full(65537, 65535, dtype=np.uint16)
    assert judge({4: np.ones(65537, dtype=bool)}, {4: counts}) == {4: 65537 * 65535}


def test_an_impossible_backend_among_the_living_is_named() -> None:
    with pytest.raises(RingError, match="backend id 65536"):
        pushed_out(7, SEED, [equal_slots(2)], equal_slots(3), [65536])
