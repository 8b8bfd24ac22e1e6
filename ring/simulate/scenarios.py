"""What happens to a pool: scripts of changes, each a function of a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from ring.slots import Lineup


class Kind(Enum):
    """What a change does to its slot."""

    OUT = "out"
    BACK = "back"
    WEIGHT = "weight"
    REPLACE = "replace"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Change:
    """At step `at`, slot index `slot` goes out or comes back, or gets `value` as weight or backend.

    ADD appends the slot (its index is that of the next one), with weight `value`. All of them are planned:
    whom a failure takes its flows from is no matter of tables.
    """

    at: int
    kind: Kind
    slot: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A pool of `backends` equal slots, its script and the length of a flow's life.

    `births` is the mean number of flows born in a step, `life` the mean number of steps that a flow lives. Of an
    `ordered` script, what waits puts off all that follows by as many steps (a rollout); else changes of different
    slots do not wait for each other.
    """

    name: str
    backends: int
    changes: tuple[Change, ...]
    births: int
    life: float
    ordered: bool = False

    @property
    def length(self) -> int:
        """Steps until the script is through, if nothing waits."""
        return max(change.at for change in self.changes) + 1


def equal_lineup(backends: int) -> Lineup:
    """Return a line-up of `backends` slots of weight 1, backend n + 1 in slot n, all serving."""
    numbers = np.arange(backends, dtype=np.uint16)
    ones = np.ones(backends, dtype=np.uint16)
    return Lineup(numbers, ones, numbers + np.uint16(1), ones.astype(np.uint8))


def after(lineup: Lineup, change: Change) -> Lineup:
    """Return the line-up after `change`."""
    numbers, weights = lineup.numbers, lineup.weights.copy()
    backends, serving = lineup.backends.copy(), lineup.serving.copy()
    match change.kind:
        case Kind.OUT | Kind.BACK:
            serving[change.slot] = change.kind is Kind.BACK
        case Kind.WEIGHT:
            weights[change.slot] = change.value
        case Kind.REPLACE:
            backends[change.slot] = change.value
        case Kind.ADD:
            numbers = np.append(numbers, np.uint16(len(numbers)))
            weights = np.append(weights, np.uint16(change.value))
            backends = np.append(backends, backends.max() + np.uint16(1))
            serving = np.append(serving, np.uint8(1))
    return Lineup(numbers, weights, backends, serving)


def rolling_restart(seed: int, births: int, backends: int = 100, life: float = 10) -> Scenario:
    """Every backend once, in random order: as one comes back the next goes out."""
    order = np.random.default_rng(seed).permutation(backends).tolist()
    changes = [Change(0, Kind.OUT, order[0])]
    for step, (before, slot) in enumerate(pairwise(order), start=1):
        changes += [Change(step, Kind.BACK, before), Change(step, Kind.OUT, slot)]
    changes.append(Change(backends, Kind.BACK, order[-1]))
    return Scenario("rolling restart", backends, tuple(changes), births, life, ordered=True)


def flapping(seed: int, births: int, backends: int = 20, times: int = 40, life: float = 10) -> Scenario:
    """Somebody's automation drains three backends in turn, and undrains them, and drains them again."""
    chance = np.random.default_rng(seed)
    slots = chance.choice(backends, 3, replace=False).tolist()
    kinds = (Kind.OUT, Kind.BACK)
    changes = tuple(Change(step, kinds[step // 3 % 2], slots[step % 3]) for step in range(times))
    return Scenario("flapping", backends, changes, births, life)


def mixed(seed: int, births: int, backends: int = 6, count: int = 60, life: float = 5) -> Scenario:
    """Drains, undrains, weights, replacements and some growth, one a step; at least half stay in service."""
    return Scenario("mixed changes", backends, tuple(_mixed(seed, backends, count)), births, life)


def _mixed(seed: int, backends: int, count: int) -> Iterator[Change]:
    chance = np.random.default_rng(seed)
    serving, newest = [True] * backends, 10_000
    for step in range(count):
        kind = list(Kind)[int(chance.choice(5, p=(0.3, 0.3, 0.2, 0.15, 0.05)))]
        down = [slot for slot, up in enumerate(serving) if not up]
        up = [slot for slot, up in enumerate(serving) if up]
        if (kind is Kind.BACK and not down) or (kind is Kind.OUT and len(up) * 2 <= len(serving)):
            kind = Kind.BACK if down else Kind.WEIGHT
        slot = int(chance.choice(down if kind is Kind.BACK else up))
        if kind is Kind.ADD:
            slot = len(serving)
            serving.append(True)
        serving[slot] = kind is not Kind.OUT
        newest += 1
        value = newest if kind is Kind.REPLACE else int(chance.integers(1, 5))
        yield Change(step, kind, slot, value)


def scale_out(
    _: int, births: int, backends: int = 50, times: int = 50, life: float = 10, batch: int = 1
) -> Scenario:
    """The pool doubles, a backend a step, or `batch` together in every `batch`-th: the same for every seed."""
    changes = tuple(Change(step // batch * batch, Kind.ADD, backends + step, 1) for step in range(times))
    return Scenario("scale-out", backends, changes, births, life, ordered=True)


def replacement_in_place(seed: int, births: int, backends: int = 50, life: float = 10) -> Scenario:
    """Every machine is replaced, one a step: the newcomer takes the slot over while its predecessor drains."""
    order = np.random.default_rng(seed).permutation(backends).tolist()
    changes = tuple(Change(step, Kind.REPLACE, slot, 1000 + slot) for step, slot in enumerate(order))
    return Scenario("replacement in place", backends, changes, births, life, ordered=True)


def break_before_make(seed: int, births: int, backends: int = 50, life: float = 10) -> Scenario:
    """Every machine is replaced: it goes out, and two steps later its successor comes into the empty slot."""
    order = np.random.default_rng(seed).permutation(backends).tolist()
    changes = []
    for number, slot in enumerate(order):
        changes.append(Change(2 * number, Kind.OUT, slot))
        changes.append(Change(2 * number + 1, Kind.REPLACE, slot, 1000 + slot))
        changes.append(Change(2 * number + 1, Kind.BACK, slot))
    return Scenario("break before make", backends, tuple(changes), births, life, ordered=True)


SCENARIOS: dict[str, Callable[[int, int], Scenario]] = {
    "rolling restart": rolling_restart,
    "flapping": flapping,
    "mixed changes": mixed,
    "scale-out": scale_out,
    "replacement in place": replacement_in_place,
    "break before make": break_before_make,
}
"""Name → scenario of (seed, births in a step)."""
