"""Failover: who takes over, how evenly, and that nothing else moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.logarithm import minus_log2, table
from ring.slots import Slot
from tests.unit.ring.pools import SEED, equal_slots, owners, pools, seeds, sizes, without

SIZE = 65537
draws = st.integers(0, 2**32 - 1)


@given(slots=pools(least=2), size=sizes, seed=seeds, data=st.data())
def test_a_removed_backend_moves_only_its_own_buckets(
    slots: list[Slot], size: int, seed: int, data: st.DataObject
) -> None:
    already = data.draw(st.sets(st.sampled_from([slot.backend for slot in slots])))
    lost = data.draw(st.sampled_from([slot.backend for slot in slots]))
    before = owners(without(slots, *already), size, seed)
    after = owners(without(slots, *already, lost), size, seed)
    assert np.array_equal(before[before != lost], after[before != lost])
    assert lost not in after


@given(slots=pools(), size=sizes, seed=seeds, data=st.data())
def test_a_returning_backend_gets_its_own_buckets_back(
    slots: list[Slot], size: int, seed: int, data: st.DataObject
) -> None:
    away = data.draw(st.sets(st.sampled_from([slot.backend for slot in slots])))
    back = data.draw(st.sampled_from([slot.backend for slot in slots]))
    at_home = owners(slots, size, seed)
    after = owners(without(slots, *(away - {back})), size, seed)
    assert np.array_equal(after[at_home == back], at_home[at_home == back])


@given(slots=pools(least=3), size=sizes, seed=seeds, data=st.data())
def test_the_order_of_removals_is_irrelevant(
    slots: list[Slot], size: int, seed: int, data: st.DataObject
) -> None:
    """Replayed step by step, as a node does that was there for each removal, and as one that came later."""
    order = data.draw(st.permutations([slot.backend for slot in slots]))
    leaving = order[: len(order) - 1]

    def replay(removals: list[int]) -> list[int]:
        seen = slots
        for backend in removals:
            seen = without(seen, backend)
            owners(seen, size, seed)
        return [int(backend) for backend in owners(seen, size, seed)]

    assert replay(leaving) == replay(leaving[::-1]) == owners(without(slots, *leaving), size, seed).tolist()


def test_an_empty_slot_keeps_its_home_and_serves_nobody() -> None:
    slots = equal_slots(5)
    emptied = [Slot(2) if slot.number == 2 else slot for slot in slots]
    assert np.array_equal(owners(emptied), owners(without(slots, 3)))


def test_a_replacement_machine_takes_over_exactly_the_slot() -> None:
    slots = equal_slots(5)
    replaced = [Slot(2, 1, 77) if slot.number == 2 else slot for slot in slots]
    before, after = owners(slots), owners(replaced)
    assert np.array_equal(np.where(before == 3, 77, before), after)


def test_nobody_owns_a_bucket_when_no_slot_serves() -> None:
    assert not owners(without(equal_slots(3), 1, 2, 3)).any()
    assert not owners([Slot(0), Slot(1)]).any()
    assert not owners([]).any()


def test_the_last_one_standing_owns_every_bucket() -> None:
    assert set(owners(without(equal_slots(9), *range(1, 9))).tolist()) == {9}


@given(seed=seeds, weights=st.lists(st.integers(1, 1000), min_size=3, max_size=20))
@settings(max_examples=25, derandomize=True)
def test_a_lost_slot_is_shared_out_by_weight(seed: int, weights: list[int]) -> None:
    """Each survivor's part is binomial: six standard deviations are not exceeded by chance."""
    slots = [Slot(number, weight, number + 1) for number, weight in enumerate([sum(weights), *weights])]
    before, after = owners(slots, SIZE, seed), owners(without(slots, 1), SIZE, seed)
    taken = np.bincount(after[before == 1], minlength=len(slots) + 1)[2:]
    part = np.array(weights) / sum(weights)
    deviation = np.sqrt(taken.sum() * part * (1 - part))
    assert np.all(np.abs(taken - taken.sum() * part) <= 6 * deviation + 1)


def test_shares_hold_with_half_of_a_hundred_slots_gone() -> None:
    slots = equal_slots(100, failed=range(0, 100, 2))
    counts = np.bincount(owners(slots, SIZE))[2::2]
    assert counts.sum() == SIZE
    assert counts.max() / counts.mean() < 1.10


def test_buckets_of_one_home_do_not_follow_each_other() -> None:
    """What one backend leaves goes to all others, and to each a different part than another seed would."""
    slots = equal_slots(10)
    lost = owners(slots, SIZE) == 4
    heirs = owners(without(slots, 4), SIZE)[lost]
    assert set(heirs.tolist()) == set(range(1, 11)) - {4}
    other = owners(without(slots, 4), SIZE, SEED + 1)[lost]
    assert 0.05 < np.mean(heirs == other) < 0.15


@given(a=draws, b=draws)
def test_the_logarithm_never_rises_with_its_draw(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert minus_log2(low) >= minus_log2(high)


@given(draw=draws)
def test_the_logarithm_is_right_to_three_in_ten_thousand(draw: int) -> None:
    exact = -math.log2((draw + 1) / 2**32) * 2**32
    assert 0 <= minus_log2(draw) - exact + 2 <= 3e-4 * exact + 4


@given(draw=st.one_of(draws, st.integers(2**32 - 5000, 2**32 - 1)))
def test_the_logarithm_is_never_below_the_bound_that_the_fast_path_rejects_by(draw: int) -> None:
    assert minus_log2(draw) >= 2**32 - 1 - draw


def test_the_ends_of_the_logarithm_are_exact() -> None:
    assert minus_log2(2**32 - 1) == 0
    assert minus_log2(2**31 - 1) == 1 << 32
    assert minus_log2(0) == 32 << 32


@pytest.mark.parametrize("entry", [0, 1, 255, 512, 1000, 1023, 1024])
def test_the_logarithms_table_is_rounded_down(entry: int) -> None:
    assert 0 <= math.log2(1 + entry / 1024) * 2**32 - table()[entry] < 1 + 1e-5
