"""Whole tables: the same everywhere, explained, shared out, and refused when the slots make no sense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.errors import RingError
from ring.shares import buckets_by_backend, moved
from ring.slots import Slot
from ring.table import Explanation, build, explain
from tests.unit.ring.pools import SEED, equal_slots, histories, owners, pools, seeds, sizes, without

ROOT = Path(__file__).parents[3]

ELSEWHERE = """
from ring.slots import Slot
from ring.table import build
numbers = {str(number) for number in range(40)}  # a set of strings: ordered anew in each process
slots = [Slot(int(number), 1 + int(number) % 5, int(number) + 1, int(number) % 7 != 0) for number in numbers]
earlier = [Slot(int(number), 1 + int(number) % 5, int(number) + 1) for number in numbers]
print(build(4093, 42, slots, [earlier], {int(n) for n in numbers}, {3}, {5, 9}).digest())
"""


def digest_elsewhere(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", ELSEWHERE]
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()


def test_every_process_builds_the_same_table() -> None:
    assert len({digest_elsewhere(seed) for seed in ("0", "1", "4242")}) == 1


@given(epochs=histories(), size=sizes, seed=seeds, data=st.data())
def test_the_order_of_insertion_is_irrelevant(
    epochs: list[list[Slot]], size: int, seed: int, data: st.DataObject
) -> None:
    shuffled = [data.draw(st.permutations(slots)) for slots in epochs]
    here = build(size, seed, epochs[-1], epochs[:-1])
    there = build(size, seed, shuffled[-1], shuffled[:-1])
    assert here == there
    assert here.digest() == there.digest()


@given(slots=pools(least=2), size=sizes, seed=seeds)
def test_every_bucket_has_an_owner_that_serves(slots: list[Slot], size: int, seed: int) -> None:
    down = without(slots, slots[0].backend)
    table = build(size, seed, down)
    assert len(table.owners) == table.size == size
    assert set(table.owners.tolist()) <= {slot.backend for slot in down if slot.active}


def test_the_digest_tells_owners_alternates_and_sizes_apart() -> None:
    slots = equal_slots(5)
    tables = [
        build(251, SEED, slots),
        build(257, SEED, slots),
        build(251, SEED + 1, slots),
        build(251, SEED, without(slots, 3)),
        build(251, SEED, without(slots, 3), [slots]),
        build(251, SEED, without(slots, 3), [without(slots, 4)]),
    ]
    assert len({table.digest() for table in tables}) == len(tables)
    assert len(set(tables)) == len(tables)


def test_a_table_cannot_be_written_into() -> None:
    table = build(251, SEED, equal_slots(5), [equal_slots(5, failed=[1])])
    for column in (table.owners, table.first, table.second):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


@given(epochs=histories(), size=sizes, seed=seeds, data=st.data())
def test_an_explanation_says_what_the_table_says(
    epochs: list[list[Slot]], size: int, seed: int, data: st.DataObject
) -> None:
    *earlier, newest = epochs
    bucket = data.draw(st.integers(0, size - 1))
    table = build(size, seed, newest, earlier)
    told = explain(bucket, size, seed, newest, earlier)
    assert told.owner == table.owners[bucket]
    assert told.alternates == tuple(b for b in (int(table.first[bucket]), int(table.second[bucket])) if b)
    by_number = {slot.number: slot for slot in newest}
    assert by_number[told.home].backend == told.home_backend
    assert told.owner == (0 if told.server is None else by_number[told.server].backend)


def test_an_explanation_names_the_home_that_failed() -> None:
    slots = equal_slots(5)
    bucket = int(np.flatnonzero(owners(slots) == 3)[0])
    told = explain(bucket, 251, SEED, without(slots, 3), [slots])
    heir = int(owners(without(slots, 3))[bucket])
    assert told == Explanation(
        bucket=bucket, home=2, home_backend=3, server=heir - 1, owner=heir, alternates=(3,)
    )


@pytest.mark.parametrize(("bucket", "slots"), [(-1, equal_slots(2)), (7, equal_slots(2)), (0, [])])
def test_a_bucket_outside_the_table_cannot_be_explained(bucket: int, slots: list[Slot]) -> None:
    with pytest.raises(RingError, match=f"bucket {bucket}"):
        explain(bucket, 7, SEED, slots)


def test_buckets_add_up_and_count_what_nobody_owns() -> None:
    shares = buckets_by_backend(owners(equal_slots(4), 65537))
    assert list(shares) == [1, 2, 3, 4]
    assert sum(shares.values()) == 65537
    assert all(share == pytest.approx(65537 / 4, rel=0.01) for share in shares.values())
    assert buckets_by_backend(owners([], 7)) == {0: 7}


def test_moved_is_the_share_of_buckets_with_another_owner() -> None:
    slots = equal_slots(4)
    before, after = owners(slots), owners(without(slots, 2))
    assert moved(before, before) == 0
    assert moved(before, after) == buckets_by_backend(before)[2] / 251


@pytest.mark.parametrize(
    ("number", "weight", "backend", "message"),
    [
        (-1, 1, 1, "slot -1: number must be 0..65534"),
        (65535, 1, 1, "slot 65535: number must be 0..65534"),
        (3, 0, 1, "slot 3: weight 0 must be 1..65535"),
        (3, 65536, 1, "slot 3: weight 65536 must be 1..65535"),
        (3, 1, -1, "slot 3: backend id -1 must be 0..65535"),
        (3, 1, 65536, "slot 3: backend id 65536 must be 0..65535"),
    ],
)
def test_a_slot_out_of_range_is_refused_by_name(number: int, weight: int, backend: int, message: str) -> None:
    with pytest.raises(RingError, match=message):
        Slot(number, weight, backend)


def test_a_slot_number_given_twice_is_refused() -> None:
    with pytest.raises(RingError, match="slot 4: number given to more than one slot"):
        build(7, SEED, [Slot(4, 1, 1), Slot(2, 1, 2), Slot(4, 1, 3)])


def test_a_table_of_no_prime_size_is_refused_even_without_slots() -> None:
    for slots in ([], equal_slots(2)):
        with pytest.raises(RingError, match="table size 8: must be a prime"):
            build(8, SEED, slots)
