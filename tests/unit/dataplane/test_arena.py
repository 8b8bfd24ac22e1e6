"""Extents: no two overlap, all come back, and none too early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbnode.dataplane.arena import Arena, claimed


def test_the_lowest_free_extent_is_given_out_first() -> None:
    arena = Arena(8, 64)
    assert [arena.allocate(10), arena.allocate(10)] == [8, 18]
    arena.release(8)
    assert arena.allocate(5) == 8


def test_extents_start_at_the_alignment() -> None:
    arena = Arena(3, 64, alignment=8)
    assert [arena.allocate(1), arena.allocate(9), arena.allocate(1)] == [8, 16, 32]


def test_only_what_is_larger_than_a_row_lies_in_two() -> None:
    arena = Arena(0, 64, row=16)
    assert [arena.allocate(places) for places in (10, 10, 20, 10, 3)] == [0, 16, 26, 48, 10]
    again = Arena(0, 64, row=16)
    assert claimed(again, [(0, 10), (16, 10), (26, 20), (48, 10)])
    assert again.allocate(3) == 10


def test_a_full_arena_gives_nothing() -> None:
    arena = Arena(0, 10)
    assert arena.allocate(11) is None
    assert arena.allocate(10) == 0
    assert arena.allocate(1) is None
    assert arena.used == 10


def test_a_retired_extent_is_free_only_after_a_later_grace_period() -> None:
    arena = Arena(0, 10)
    arena.allocate(10)
    arena.retire(0, number=3)
    assert arena.has_retired
    arena.reclaim(2)
    assert arena.allocate(1) is None
    arena.reclaim(3)
    assert arena.allocate(10) == 0
    assert not arena.has_retired


def test_claimed_extents_are_not_given_out() -> None:
    arena = Arena(0, 20)
    assert claimed(arena, [(5, 5), (15, 5)])
    assert [arena.allocate(5), arena.allocate(5), arena.allocate(1)] == [0, 10, None]


def test_overlapping_or_foreign_extents_cannot_be_claimed() -> None:
    assert not claimed(Arena(0, 20), [(5, 5), (9, 5)])
    assert not claimed(Arena(0, 20), [(18, 5)])


@given(
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=60),
    st.sampled_from([1, 8]),
    st.sampled_from([0, 16]),
)
def test_extents_never_overlap_and_all_places_come_back(
    steps: list[tuple[int, bool]], alignment: int, row: int
) -> None:
    arena = Arena(0, 160, alignment, row)
    held: dict[int, int] = {}
    for size, give_back in steps:
        if give_back and held:
            base = min(held)
            held.pop(base)
            arena.release(base)
        base_or_none = arena.allocate(size)
        if base_or_none is not None:
            held[base_or_none] = size
            assert not row or size > row or base_or_none // row == (base_or_none + size - 1) // row
        places = [place for base, size in held.items() for place in range(base, base + size)]
        assert len(places) == len(set(places))
        assert all(0 <= place < 160 for place in places)
    arena.release(*held)
    assert arena.allocate(160) == 0
