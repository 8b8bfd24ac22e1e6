"""Alternates: the last two distinct earlier owners that may still be asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.errors import RingError
from ring.slots import Slot
from ring.table import build
from tests.unit.ring.pools import SEED, equal_slots, histories, owners, seeds, sizes, without


def last_two(past: list[int], owner: int, allowed: set[int]) -> list[int]:
    """What design.md §3 says, for one bucket; `past` oldest first."""
    found: list[int] = []
    for backend in reversed(past):
        if backend in allowed and backend != owner and backend not in found:
            found.append(backend)
    return [*found, 0, 0][:2]


@given(epochs=histories(), size=sizes, seed=seeds, allowed=st.sets(st.integers(1, 8)))
@settings(deadline=None)
def test_alternates_are_the_last_two_distinct_living_owners(
    epochs: list[list[Slot]], size: int, seed: int, allowed: set[int]
) -> None:
    *earlier, newest = epochs
    table = build(size, seed, newest, earlier, allowed)
    past = [owners(slots, size, seed).tolist() for slots in earlier]
    for bucket in range(size):
        expected = last_two([epoch[bucket] for epoch in past], int(table.owners[bucket]), allowed)
        assert [table.first[bucket], table.second[bucket]] == expected


@given(epochs=histories(), size=sizes, seed=seeds)
@settings(deadline=None)
def test_history_never_changes_an_owner(epochs: list[list[Slot]], size: int, seed: int) -> None:
    *earlier, newest = epochs
    assert np.array_equal(build(size, seed, newest, earlier).owners, owners(newest, size, seed))


def test_a_failed_backend_is_the_alternate_of_exactly_its_buckets() -> None:
    slots = equal_slots(6)
    table = build(251, SEED, without(slots, 4), [slots])
    assert np.array_equal(table.first == 4, owners(slots) == 4)
    assert set(table.first.tolist()) == {0, 4}
    assert not table.second.any()


def test_after_its_return_a_backend_has_its_deputies_as_alternates() -> None:
    slots = equal_slots(6)
    away = without(slots, 4)
    table = build(251, SEED, slots, [slots, away])
    assert np.array_equal(table.first, np.where(owners(slots) == 4, owners(away), 0))


def test_a_rolling_restart_leaves_each_bucket_with_one_alternate() -> None:
    """One after the other leaves and returns: a bucket was only ever at home or with its one deputy."""
    slots = equal_slots(8)
    epochs = [epoch for backend in range(1, 9) for epoch in (slots, without(slots, backend))]
    table = build(251, SEED, slots, epochs)
    assert np.array_equal(table.owners, owners(slots))
    assert not table.second.any()
    assert table.first.all()


def test_a_dead_backend_takes_no_living_ones_place() -> None:
    slots = equal_slots(6)
    epochs = [slots, without(slots, 1), without(slots, 1, 2)]
    newest = without(slots, 1, 2, 3)
    everyone = build(251, SEED, newest, epochs)
    living = build(251, SEED, newest, epochs, {1, 2, 4, 5, 6})
    after_3 = (everyone.first == 3) & (everyone.second != 0)
    assert after_3.any()
    assert np.array_equal(living.first[after_3], everyone.second[after_3])
    assert 3 not in {*living.first.tolist(), *living.second.tolist()}


def test_without_history_there_are_no_alternates() -> None:
    table = build(251, SEED, equal_slots(6, failed=[2]))
    assert not table.first.any()
    assert not table.second.any()


def test_nobody_allowed_means_no_alternates() -> None:
    slots = equal_slots(6)
    table = build(251, SEED, without(slots, 4), [slots], alternates_allowed=())
    assert not table.first.any()


def test_a_backend_that_moved_to_another_slot_counts_once() -> None:
    before = [Slot(0, 1, 1), Slot(1, 1, 2)]
    swapped = [Slot(0, 1, 2), Slot(1, 1, 1)]
    table = build(251, SEED, swapped, [before, swapped, before])
    assert np.array_equal(table.first, owners(before))
    assert not table.second.any()


@pytest.mark.parametrize("backend", [-1, 65536])
def test_an_impossible_backend_among_the_allowed_is_named(backend: int) -> None:
    with pytest.raises(RingError, match=f"allowed alternates: backend id {backend}"):
        build(7, SEED, equal_slots(2), [equal_slots(2, [1])], [backend])
