"""The directory of VIPs: every key has a place of its own, and the look-up finds it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnode.dataplane.directory import Words, build
from lbnode.dataplane.errors import CapacityError

WORD = st.integers(0, 2**32 - 1)
CAPACITY = 4096


def some_keys(count: int) -> list[Words]:
    chance = random.Random(count)
    keys: set[Words] = set()
    while len(keys) < count:
        keys.add((0, 0, 0, chance.getrandbits(32), 4 << 24 | 6 << 16 | chance.getrandbits(16)))
    return sorted(keys)


@given(st.sets(st.tuples(WORD, WORD, WORD, WORD, WORD), max_size=100))
def test_no_two_keys_share_a_place_and_each_is_found(keys: set[Words]) -> None:
    given_keys = sorted(keys)
    directory = build(given_keys, CAPACITY)
    assert len(set(directory.places)) == len(given_keys)
    assert [directory.find(key) for key in given_keys] == list(directory.places)
    assert all(0 <= place <= directory.mask for place in directory.places)


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 4096])
def test_any_number_up_to_the_capacity_fits(count: int) -> None:
    directory = build(some_keys(count), CAPACITY)
    assert len(set(directory.places)) == count
    assert directory.mask < CAPACITY
    assert all(0 <= step < 1 << 16 for step in directory.displacement)


def test_neighbouring_addresses_and_ports_fit() -> None:
    keys: list[Words] = [
        (0, 0, 0, 0x0A000000 + host, 4 << 24 | port) for host in range(64) for port in range(64)
    ]
    assert len(set(build(keys, CAPACITY).places)) == len(keys)


def test_the_same_keys_give_the_same_directory() -> None:
    assert build(some_keys(300), CAPACITY) == build(some_keys(300), CAPACITY)


def test_too_many_keys_name_the_capacity() -> None:
    with pytest.raises(CapacityError, match="holds 4096: raise VIP_PLACES"):
        build(some_keys(4097), CAPACITY)
