"""The C library and the reference in Python give identical bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ring import fast, reference
from ring.engine import engine
from ring.errors import RingError
from ring.maglev import permutations
from ring.slots import Lineup, Slot, line_up
from tests.unit.ring.pools import SEED, equal_slots, pools, seeds, sizes


@pytest.fixture(scope="module")
def library() -> fast.Library:
    loaded = fast.load()
    assert loaded is not None, "not built: run `python hatch_build.py`"
    return loaded


def column(values: list[int], kind: type[np.unsignedinteger] = np.uint16) -> NDArray[np.unsignedinteger]:
    return np.array(values, dtype=kind)


@given(slots=pools(most=40), size=sizes, data=st.data())
@settings(max_examples=150)
def test_homes_are_identical(
    library: fast.Library, slots: list[Slot], size: int, data: st.DataObject
) -> None:
    """With any permutations, not only ours."""
    places = st.integers(0, size - 1)
    offsets = column([data.draw(places) for _ in slots], np.uint32)
    skips = column([data.draw(places.filter(bool)) for _ in slots], np.uint32)
    weights = column([slot.weight for slot in slots])
    arguments = (offsets, skips, weights, size)
    assert library.populate(*arguments).tobytes() == reference.populate(*arguments).tobytes()


@given(slots=pools(), size=sizes, seed=seeds, data=st.data())
@settings(max_examples=150)
def test_failovers_are_identical(
    library: fast.Library, slots: list[Slot], size: int, seed: int, data: st.DataObject
) -> None:
    lineup = line_up([Slot(s.number, s.weight, s.backend, data.draw(st.booleans())) for s in slots])
    home = column([data.draw(st.integers(0, len(slots) - 1)) for _ in range(size)])
    assert_same_servers(library, home, lineup, seed)


@given(data=st.data(), size=sizes)
def test_alternates_are_identical(library: fast.Library, data: st.DataObject, size: int) -> None:
    few = st.lists(st.integers(0, 5), min_size=size, max_size=size)
    owners, epochs = column(data.draw(few)), [column(data.draw(few)) for _ in range(4)]
    allowed = np.zeros(65536, dtype=np.uint8)
    allowed[list(data.draw(st.sets(st.integers(1, 5))))] = 1
    mixed = [not allowed[epoch[epoch != 0]].all() for epoch in epochs]
    results = []
    for implementation in (library, reference):
        first, second = np.zeros_like(owners), np.zeros_like(owners)
        is_full = implementation.remember(owners, epochs, mixed, allowed, first, second)
        left_out = implementation.left_out(owners, first, second, epochs, np.flatnonzero(allowed).tolist())
        assert is_full == left_out.any()
        results.append((first.tolist(), second.tolist(), left_out.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "weights", [[1] * 30, [1, 65535, 1], [65535, 65534, 3, 1] * 5, list(range(1, 60))], ids=str
)
def test_whole_tables_are_identical(library: fast.Library, weights: list[int]) -> None:
    size = 16381
    offsets, skips = permutations(range(len(weights)), SEED, size)
    home = library.populate(offsets, skips, column(weights), size)
    assert home.tobytes() == reference.populate(offsets, skips, column(weights), size).tobytes()
    slots = [Slot(number, weight, number + 1, number != 1) for number, weight in enumerate(weights)]
    assert_same_servers(library, home, line_up(slots), SEED)


def test_populating_leaves_its_arguments_as_they_were(library: fast.Library) -> None:
    offsets, skips = permutations(range(5), SEED, 31)
    kept = offsets.copy()
    library.populate(offsets, skips, column([1] * 5), 31)
    assert np.array_equal(offsets, kept)


def test_more_members_than_places_leave_the_last_ones_without(library: fast.Library) -> None:
    offsets, skips = permutations(range(500), SEED, 7)
    for implementation in (library, reference):
        assert sorted(implementation.populate(offsets, skips, column([1] * 500), 7).tolist()) == list(
            range(7)
        )


def test_extreme_weights_on_the_largest_pool_are_no_trap(library: fast.Library) -> None:
    """The definition goes through 65535 members 65535 times; the library sorts the turns."""
    size, members = 65537, 65535
    offsets, skips = permutations(range(members), SEED, size)
    weights = column([65535] + [1] * (members - 1))
    counts = np.bincount(library.populate(offsets, skips, weights, size), minlength=members)
    assert counts[:3].tolist() == [65535, 1, 1]
    assert not counts[3:].any()


def test_the_library_does_the_work_where_it_is_built(library: fast.Library) -> None:
    assert engine() is library


def test_without_the_library_the_reference_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = tmp_path / "libfast.so"
    assert fast.load(absent) is None
    monkeypatch.setattr(fast, "load", lambda: None)
    assert engine() is reference


def test_a_library_of_another_release_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "INTERFACE", 99)
    with pytest.raises(RingError, match=r"interface 3, not 99: rebuild with `python hatch_build.py`"):
        fast.Library(fast.LIBRARY)


def assert_same_servers(library: fast.Library, home: NDArray[np.uint16], lineup: Lineup, seed: int) -> None:
    arguments = (home, lineup.numbers, lineup.weights, lineup.serving, seed)
    assert library.failover(*arguments).tobytes() == reference.failover(*arguments).tobytes()


def test_a_thousand_slots_are_served_alike(library: fast.Library) -> None:
    lineup = line_up(equal_slots(1000, failed=range(0, 1000, 2)))
    home = np.arange(400, dtype=np.uint16)
    assert_same_servers(library, home, lineup, SEED)
