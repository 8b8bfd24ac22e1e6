"""Alternates: the last two distinct earlier owners that may still be asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring import fast, reference
from ring.errors import RingError
from ring.slots import Slot
from ring.table import build
from tests.unit.ring.pools import SEED, equal_slots, histories, owners, seeds, sizes, without

ids = st.sets(st.integers(1, 8))


def chosen(
    past: list[int], owner: int, preferred: set[int], resort: set[int], keyless: set[int]
) -> list[int]:
    """What design.md §3 and §4 say, for one bucket; `past` oldest first."""
    latest_first = dict.fromkeys(backend for backend in reversed(past) if backend not in (0, owner))
    wanted = [backend for backend in latest_first if backend in preferred - resort]
    filling = [backend for backend in latest_first if backend in resort]
    found = [*wanted, *filling][:2]
    return [*sorted(found, key=keyless.__contains__), 0, 0][:2]


@given(epochs=histories(), size=sizes, seed=seeds, preferred=ids, resort=ids, keyless=ids)
def test_alternates_are_the_last_two_distinct_living_owners(
    epochs: list[list[Slot]], size: int, seed: int, preferred: set[int], resort: set[int], keyless: set[int]
) -> None:
    *earlier, newest = epochs
    table = build(size, seed, newest, earlier, preferred, resort, keyless)
    past = [owners(slots, size, seed).tolist() for slots in earlier]
    for bucket in range(size):
        before = [epoch[bucket] for epoch in past]
        expected = chosen(before, int(table.owners[bucket]), preferred, resort, keyless)
        assert [table.first[bucket], table.second[bucket]] == expected


@given(epochs=histories(), size=sizes, seed=seeds, resort=ids, keyless=ids)
@settings(max_examples=50)
def test_library_and_reference_choose_and_order_alternates_alike(
    epochs: list[list[Slot]], size: int, seed: int, resort: set[int], keyless: set[int]
) -> None:
    *earlier, newest = epochs
    digests = set()
    for implementation in (fast.load(), reference):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ring.alternates.engine", lambda chosen=implementation: chosen)
            digests.add(build(size, seed, newest, earlier, None, resort, keyless).digest())
    assert len(digests) == 1


def three_owners_ago() -> tuple[list[Slot], list[list[Slot]]]:
    """A newest epoch and its past: buckets of backend 1 went to its deputy, and on from there."""
    slots = equal_slots(6)
    return without(slots, 1, 2, 3), [slots, without(slots, 1), without(slots, 1, 2)]


def test_a_failed_backend_that_answers_only_fills_a_free_place() -> None:
    newest, earlier = three_owners_ago()
    strict = build(251, SEED, newest, earlier, {1, 2, 4, 5, 6})
    table = build(251, SEED, newest, earlier, {1, 2, 4, 5, 6}, last_resort={3})
    assert np.array_equal(table.first, np.where(strict.first == 0, table.first, strict.first))
    owned_by_3 = owners(earlier[-1]) == 3
    assert np.array_equal((table.first == 3) | (table.second == 3), owned_by_3 & (strict.second == 0))
    assert (owned_by_3 & (strict.second != 0)).any()


def test_a_backend_without_agent_comes_last_but_keeps_its_place() -> None:
    newest, earlier = three_owners_ago()
    plain = build(251, SEED, newest, earlier)
    table = build(251, SEED, newest, earlier, keyless={3})
    ahead = (plain.first == 3) & (plain.second != 0)
    assert ahead.any()
    assert np.array_equal(table.second[ahead], plain.first[ahead])
    assert np.array_equal(table.first[ahead], plain.second[ahead])
    assert np.array_equal(table.first[~ahead], plain.first[~ahead])


def test_of_two_without_agent_the_later_owner_stays_first() -> None:
    newest, earlier = three_owners_ago()
    assert build(251, SEED, newest, earlier, keyless={1, 2, 3}) == build(251, SEED, newest, earlier)


@given(epochs=histories(), size=sizes, seed=seeds)
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
@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("alternates_allowed", "allowed alternates"),
        ("last_resort", "last resort"),
        ("keyless", "backends without agent"),
    ],
)
def test_an_impossible_backend_is_named_with_where_it_was_given(
    argument: str, named: str, backend: int
) -> None:
    with pytest.raises(RingError, match=f"{named}: backend id {backend}"):
        build(7, SEED, equal_slots(2), [equal_slots(2, [1])], **{argument: [backend]})
