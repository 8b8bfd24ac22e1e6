"""The home table: vectors published by others, shares, and what happens when a weight or a slot changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ring.errors import RingError
from ring.maglev import permutations, populate
from ring.shares import moved
from tests.unit.ring.pools import SEED, seeds, sizes

SIZE = 65537


def envoy_table(keys: Sequence[str], size: int) -> list[int]:
    """Envoy's permutations: xxHash64 of a host's key, seed 0 for the offset, seed 1 for the skip."""
    offsets = [xxhash.xxh64_intdigest(key.encode(), 0) % size for key in keys]
    skips = [xxhash.xxh64_intdigest(key.encode(), 1) % (size - 1) + 1 for key in keys]
    return [int(member) for member in populate(offsets, skips, [1] * len(keys), size)]


def home(
    weights: Sequence[int] | NDArray[np.int64], size: int = SIZE, seed: int = SEED
) -> NDArray[np.uint16]:
    return populate(*permutations(range(len(weights)), seed, size), weights, size)


class TestPublishedVectors:
    """Equal weights only. With unequal ones Envoy lets every host take a turn in the first round, and Cilium
    counts turns, not rounds: the order of turns is another one, and so is the table. Katran's MaglevHashV2
    accumulates credit as we do, and publishes no tables.
    """

    def test_the_table_of_the_maglev_paper_is_reproduced(self) -> None:
        # Eisenbud et al., NSDI 2016, table 1: (offset, skip) of B0, B1, B2 are (3, 4), (0, 2), (3, 1).
        assert populate([3, 0, 3], [4, 2, 1], [1, 1, 1], 7).tolist() == [1, 0, 1, 0, 2, 2, 0]

    def test_so_is_its_table_after_the_loss_of_b1(self) -> None:
        b0, b2 = 0, 1
        assert populate([3, 3], [4, 1], [1, 1], 7).tolist() == [b0, b0, b0, b0, b2, b2, b2]

    def test_six_hosts_land_where_envoy_puts_them_by_address(self) -> None:
        hosts = [f"127.0.0.1:{port}" for port in range(90, 96)]
        assert envoy_table(hosts, 7) == [2, 4, 0, 1, 5, 0, 3]

    def test_six_hosts_land_where_envoy_puts_them_by_name(self) -> None:
        assert envoy_table([str(name) for name in range(90, 96)], 7) == [2, 5, 0, 3, 4, 1, 0]

    def test_two_localities_of_equal_weight_share_seventeen_places_as_in_envoy(self) -> None:
        expected = [1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1]
        assert envoy_table(["127.0.0.1:90", "127.0.0.1:91"], 17) == expected


def test_a_weight_of_half_the_largest_takes_every_second_turn() -> None:
    # All permutations are 0, 1, 2, …: the table is the order of the turns.
    assert populate([0, 0], [1, 1], [1, 2], 7).tolist() == [1, 0, 1, 1, 0, 1, 1]


def test_turns_in_one_round_follow_the_order_of_members() -> None:
    assert populate([0, 0, 0], [1, 1, 1], [2, 3, 1], 11).tolist() == [1, 0, 1, 0, 1, 2, 1, 0, 1, 0, 1]


@given(count=st.integers(1, 300), size=sizes, seed=seeds)
@settings(max_examples=60)
def test_equal_slots_differ_by_one_bucket_at_most(count: int, size: int, seed: int) -> None:
    counts = np.bincount(home([1] * count, size, seed), minlength=count)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1


@given(weights=st.lists(st.integers(25, 100), min_size=1, max_size=100), seed=seeds)
@settings(max_examples=40)
def test_slots_are_within_one_percent_of_their_share(weights: list[int], seed: int) -> None:
    counts = np.bincount(home(weights, seed=seed), minlength=len(weights))
    fair = np.array(weights) * SIZE / sum(weights)
    assert np.all(np.abs(counts - fair) <= 0.01 * fair)


@given(weights=st.lists(st.integers(1, 65535), min_size=1, max_size=100), seed=seeds)
@settings(max_examples=40)
def test_whatever_the_weights_nobody_is_more_than_a_rounding_from_its_share(
    weights: list[int], seed: int
) -> None:
    counts = np.bincount(home(weights, seed=seed), minlength=len(weights))
    fair = np.array(weights) * SIZE / sum(weights)
    assert np.all(np.abs(counts - fair) <= 1 + fair * len(weights) / SIZE)


def test_one_weight_in_a_thousand_going_from_100_to_101_moves_less_than_one_percent() -> None:
    before = [100] * 1000
    after = [*before[:500], 101, *before[501:]]
    assert 0 < moved(home(before), home(after)) < 0.01


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_a_new_slot_takes_its_share_and_little_else_moves(count: int) -> None:
    before, after = home([1] * count), home([1] * (count + 1))
    assert moved(before, after) < 1 / (count + 1) + 0.05
    assert np.count_nonzero(after == count) in (SIZE // (count + 1), SIZE // (count + 1) + 1)


def test_permutations_depend_on_number_and_seed_alone() -> None:
    offsets, skips = permutations([3, 9, 70], SEED, SIZE)
    again = permutations([70, 9], SEED, SIZE)
    assert (offsets[2], offsets[1]) == tuple(again[0])
    assert (skips[2], skips[1]) == tuple(again[1])
    assert not np.array_equal(offsets, permutations([3, 9, 70], SEED + 1, SIZE)[0])


def test_permutations_stay_inside_the_table() -> None:
    offsets, skips = permutations(range(2000), SEED, 31)
    assert set(offsets.tolist()) == set(range(31))
    assert set(skips.tolist()) == set(range(1, 31))


@pytest.mark.parametrize("size", [-7, 0, 1, 4, 65536, 1 << 24])
def test_a_size_that_is_no_usable_prime_is_refused(size: int) -> None:
    with pytest.raises(RingError, match=f"table size {size}: must be a prime"):
        permutations([0], SEED, size)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(RingError, match="seed"):
        permutations([0], seed, 7)


@pytest.mark.parametrize(
    ("offsets", "skips", "weights", "size", "message"),
    [
        ([7], [1], [1], 7, "offset of member 0: 7 must be 0..6"),
        ([0, -1], [1, 1], [1, 1], 7, "offset of member 1: -1 must be 0..6"),
        ([0], [0], [1], 7, "skip of member 0: 0 must be 1..6"),
        ([0], [7], [1], 7, "skip of member 0: 7 must be 1..6"),
        ([0], [2], [1], 8, "skip of member 0: 2 has a common factor with table size 8"),
        ([0], [1], [0], 7, "weight of member 0: 0 must be 1..65535"),
        ([0], [1], [65536], 7, "weight of member 0: 65536 must be 1..65535"),
        ([0, 0], [1, 1], [1], 7, "members: 2 offsets, 2 skips and 1 weights"),
        ([], [], [], 7, "members: 0 given, must be 1..65535"),
        ([0], [1], [1], 1, "table size 1: must be 2.."),
    ],
)
def test_arguments_that_no_table_can_be_built_from_are_named(
    offsets: list[int], skips: list[int], weights: list[int], size: int, message: str
) -> None:
    with pytest.raises(RingError, match=message):
        populate(offsets, skips, weights, size)
