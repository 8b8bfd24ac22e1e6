"""Pools to test with: Hypothesis strategies for slots, and builders for those that a test spells out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ring.slots import Slot
from ring.table import build

SEED = 0xE7E2_0001
PRIMES = (2, 3, 5, 7, 11, 13, 31, 61, 127, 251)

sizes = st.sampled_from(PRIMES)
seeds = st.integers(0, 2**64 - 1)
weights = st.one_of(st.integers(1, 4), st.integers(1, 65535))


@st.composite
def pools(
    draw: st.DrawFn, least: int = 1, most: int = 12, weight: st.SearchStrategy[int] = weights
) -> list[Slot]:
    """Slots with different numbers and different backends, all active, in any order."""
    numbers = draw(st.lists(st.integers(0, 65534), min_size=least, max_size=most, unique=True))
    backends = draw(st.permutations(range(1, len(numbers) + 1)))
    return [Slot(number, draw(weight), backend) for number, backend in zip(numbers, backends, strict=True)]


changes = st.tuples(st.integers(0, 5), st.sampled_from(["state", "occupant", "weight"]), st.integers(0, 8))


@st.composite
def histories(draw: st.DrawFn) -> list[list[Slot]]:
    """Epochs of one pool, oldest first, each with one change: a state, an occupant or a weight."""
    epochs = [draw(pools(least=2, most=6))]
    for place, what, value in draw(st.lists(changes, max_size=6)):
        slots = list(epochs[-1])
        slots[place % len(slots)] = changed(slots[place % len(slots)], what, value)
        epochs.append(slots)
    return epochs


def changed(slot: Slot, what: str, value: int) -> Slot:
    match what:
        case "state":
            return replace(slot, active=not slot.active)
        case "occupant":
            return replace(slot, backend=value)
        case _:
            return replace(slot, weight=1 + value)


def equal_slots(count: int, failed: Iterable[int] = ()) -> list[Slot]:
    """Slots 0..count-1 of weight 1, backend n + 1 in slot n; the slot numbers in `failed` are not active."""
    down = set(failed)
    return [Slot(number, 1, number + 1, number not in down) for number in range(count)]


def without(slots: Iterable[Slot], *backends: int) -> list[Slot]:
    """The same slots, with `backends` failed."""
    return [replace(slot, active=slot.active and slot.backend not in backends) for slot in slots]


def owners(slots: list[Slot], size: int = 251, seed: int = SEED) -> NDArray[np.uint16]:
    return build(size, seed, slots).owners
