"""A pool in which anything may happen: flows, planned changes, failures, windows. A seed decides all of it.

The leader's part is played in the fewest words: planned changes go ahead together, else one by one, when
`ring.admission` says that nobody waits; failures go ahead always; a window closes unless a backend that leaves
still holds flows. The flows are known exactly, as agents know theirs. Step by step, `broken` counts the flows whose
backend is alive and inside its promise, and is named by no list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ring.admission import judge, pushed_out
from ring.slots import Slot
from ring.table import build

SIZES = (31, 61, 127, 251)
STEPS = 10


class State(Enum):
    ACTIVE = "active"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Seat:
    weight: int
    backend: int
    state: State = State.ACTIVE


Seats = Mapping[int, Seat]


@dataclass(frozen=True, slots=True)
class Change:
    """A planned change of the seat `number`; `value` is a weight or a backend."""

    kind: str
    number: int
    value: int = 0

    def of(self, seats: Seats) -> Seats:
        """Return `seats` after the change: the same where it makes no sense any more."""
        seat = seats.get(self.number)
        if self.kind == "add":
            return {**seats, self.number: Seat(self.value, self.number + 1)} if seat is None else seats
        changed = seat and _changed(seat, self.kind, self.value)
        return {**seats, self.number: changed} if changed else seats


def _changed(seat: Seat, kind: str, value: int) -> Seat | None:
    match kind, seat.state:
        case "weight", _:
            return replace(seat, weight=value)
        case "drain", State.ACTIVE:
            return replace(seat, state=State.DRAINING)
        case "undrain", State.DRAINING:
            return replace(seat, state=State.ACTIVE)
        case "recover", State.FAILED if seat.backend:
            return replace(seat, state=State.ACTIVE)
        case "remove", State.ACTIVE | State.DRAINING if seat.backend:
            return replace(seat, backend=0, state=State.FAILED)
        case ("replace", _) | ("return", State.FAILED) if kind == "replace" or not seat.backend:
            return Seat(seat.weight, value)
    return None


PLANNED: Final = ("weight", "drain", "undrain", "recover", "remove", "replace", "return", "add")


class Flows:
    """Columns of all flows alive: bucket, backend, the step in which each ends, and whether it is promised."""

    def __init__(self) -> None:
        self.bucket = np.zeros(0, dtype=np.int64)
        self.backend = np.zeros(0, dtype=np.int64)
        self.ends = np.zeros(0, dtype=np.int64)
        self.promised = np.zeros(0, dtype=np.bool_)

    def born(self, buckets: NDArray[np.int64], backends: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        served = backends != 0
        self.bucket = np.concatenate((self.bucket, buckets[served]))
        self.backend = np.concatenate((self.backend, backends[served]))
        self.ends = np.concatenate((self.ends, ends[served]))
        self.promised = np.concatenate((self.promised, np.ones(int(served.sum()), dtype=np.bool_)))

    def keep(self, kept: NDArray[np.bool_]) -> None:
        self.bucket, self.backend = self.bucket[kept], self.backend[kept]
        self.ends, self.promised = self.ends[kept], self.promised[kept]

    def holders(self) -> set[int]:
        return set(self.backend.tolist())


class World:
    """One pool through `STEPS` steps. `admission` False lets every planned change go ahead at once."""

    def __init__(self, seed: int, admission: bool = True) -> None:
        self._random = random = Random(seed)
        self._chance = np.random.default_rng(seed)
        self._admission = admission
        self._seed, self._size = seed, random.choice(SIZES)
        self._ids = iter(range(1000, 60000))
        self._seats: Seats = {n: Seat(random.randint(1, 3), n + 1) for n in range(random.randint(3, 8))}
        self._former: dict[int, State] = {}
        self._answering: set[int] = set()
        self._keyless = {n + 1 for n in self._seats if random.random() < 0.08}
        self._window = random.randint(3, 8)
        self._flows = Flows()
        self._pending: list[Change] = []
        self._epochs: list[tuple[Slot, ...]] = []
        self._owners: list[NDArray[np.int64]] = []
        self._made_at: list[int] = []
        self._from = 0
        self.events: Counter[str] = Counter()
        self.broken = 0
        self._switch(self._seats, now=0)

    def run(self) -> None:
        for now in range(1, STEPS + 1):
            self._let_flows_come_and_go(now)
            self._end_drains()
            self._close_window(now)
            self._fail_some(now)
            self._plan_some()
            self._admit(now)

    # ---- flows ----

    def _let_flows_come_and_go(self, now: int) -> None:
        """Some nodes still use the epoch before for a while after a switch."""
        self._flows.keep(self._flows.ends > now)
        count = self._random.randint(0, 30)
        buckets = self._chance.integers(0, self._size, count)
        late = self._chance.random(count) < 0.2
        owners = np.where(
            late, self._owners[-2 if len(self._owners) > 1 else -1][buckets], self._owners[-1][buckets]
        )
        owners[~np.isin(owners, list(self._preferred(self._seats)))] = 0
        self._flows.born(buckets, owners, now + self._chance.geometric(0.2, count))

    def _reports(self) -> dict[int, NDArray[np.int64] | None]:
        counts = {
            backend: np.bincount(self._flows.bucket[self._flows.backend == backend], minlength=self._size)
            for backend in self._preferred(self._seats)
        }
        return {backend: None if backend in self._keyless else count for backend, count in counts.items()}

    # ---- what happens ----

    def _end_drains(self) -> None:
        gone = self._former.keys() - self._flows.holders()
        self._former = {backend: state for backend, state in self._former.items() if backend not in gone}
        self.events["drain ended"] += len(gone)

    def _close_window(self, now: int) -> None:
        """Flows older than the window are promised nothing, but nobody who leaves is forgotten with flows."""
        old = max(n for n, made_at in enumerate(self._made_at) if made_at <= max(now - self._window, 0))
        leaving = self._former.keys() | {s.backend for s in self._seats.values() if s.state is State.DRAINING}
        if old <= self._from or leaving & self._flows.holders():
            return
        self._from = old
        self.events["window closed"] += 1
        flows = self._flows
        flows.promised &= np.any(
            [owners[flows.bucket] == flows.backend for owners in self._owners[old:]], axis=0
        )
        self._switch(self._seats, now)

    def _fail_some(self, now: int) -> None:
        """A failed backend's own flows are its victims; whether it answers on is another matter."""
        if self._random.random() > 0.2:
            return
        number = self._random.choice(list(self._seats))
        seat = self._seats[number]
        if seat.state is State.FAILED:
            self._answering.discard(seat.backend)
            return
        self.events["failure"] += 1
        self._flows.promised &= self._flows.backend != seat.backend
        if self._random.random() < 0.5:
            self._answering.add(seat.backend)
        self._switch({**self._seats, number: replace(seat, state=State.FAILED)}, now)

    def _plan_some(self) -> None:
        for _ in range(self._random.choice((0, 1, 1, 3))):
            kind = self._random.choice(PLANNED)
            number = len(self._seats) if kind == "add" else self._random.choice(list(self._seats))
            self._pending.append(Change(kind, number, self._value(kind)))
        if len(self._pending) > 4:
            self._pending = self._pending[-4:]

    def _value(self, kind: str) -> int:
        if kind in ("weight", "add"):
            return self._random.randint(1, 4)
        if kind == "return" and self._former:
            return self._random.choice(list(self._former))
        return next(self._ids)

    # ---- admission ----

    def _admit(self, now: int) -> None:
        """All that is pending together, else one by one."""
        everything = self._apply(self._seats, self._pending)
        if not self._waits(everything):
            accepted, held = everything, list[Change]()
        else:
            accepted, held = self._one_by_one()
        self._count([change for change in self._pending if change not in held], held)
        self._pending = held
        if accepted != self._seats:
            self._switch(accepted, now)

    def _count(self, done: list[Change], held: list[Change]) -> None:
        self.events["held"] += len(held)
        self.events.update(
            change.kind for change in done if self._apply(self._seats, [change]) != self._seats
        )

    def _one_by_one(self) -> tuple[Seats, list[Change]]:
        accepted: Seats = self._seats
        held: list[Change] = []
        for change in self._pending:
            trial = self._apply(accepted, [change])
            if trial != accepted and self._waits(trial):
                held.append(change)
            else:
                accepted = trial
        return accepted, held

    def _apply(self, seats: Seats, changes: Iterable[Change]) -> Seats:
        """A backend sits in one seat; one that failed as it left does not come back by a plan."""
        for change in changes:
            changed = change.of(seats)
            seated = [seat.backend for seat in changed.values() if seat.backend]
            if len(seated) == len(set(seated)) and not any(
                self._former.get(backend) is State.FAILED for backend in seated
            ):
                seats = changed
        return seats

    def _waits(self, seats: Seats) -> bool:
        if not self._admission or seats == self._seats:
            return False
        history = self._epochs[self._from :]
        pushed = pushed_out(self._size, self._seed, history, _slots(seats), self._preferred(seats))
        return bool(judge(pushed, self._reports()))

    # ---- epochs ----

    def _preferred(self, seats: Seats) -> set[int]:
        """Occupants that have not failed, and whoever left and has not."""
        occupants = {seat.backend: seat.state for seat in seats.values() if seat.backend}
        leavers = {s.backend: s.state for s in self._seats.values() if s.backend} | self._former
        return {backend for backend, state in (leavers | occupants).items() if state is not State.FAILED}

    def _switch(self, seats: Seats, now: int) -> None:
        seated = {seat.backend for seat in seats.values()}
        left = {s.backend: s.state for s in self._seats.values() if s.backend and s.backend not in seated}
        self._former = {b: state for b, state in (self._former | left).items() if b not in seated}
        self._seats = seats
        self._epochs.append(_slots(seats))
        self._made_at.append(now)
        self._check()

    def _check(self) -> None:
        failed = {
            seat.backend for seat in self._seats.values() if seat.state is State.FAILED and seat.backend
        }
        failed |= {backend for backend, state in self._former.items() if state is State.FAILED}
        *earlier, newest = self._epochs[self._from :]
        table = build(
            self._size,
            self._seed,
            newest,
            earlier,
            self._preferred(self._seats),
            failed & self._answering,
            self._keyless,
        )
        self._owners.append(table.owners.astype(np.int64))
        flows = self._flows
        listed = np.zeros(len(flows.bucket), dtype=np.bool_)
        for column in (table.owners, table.first, table.second):
            listed |= column[flows.bucket] == flows.backend
        self.broken += int(np.count_nonzero(flows.promised & ~listed))
        self.events["second chances"] += int(np.count_nonzero(table.owners[flows.bucket] != flows.backend))
        flows.promised &= listed


def live_through(seeds: Iterable[int]) -> Counter[str]:
    """Run the worlds of `seeds` and return what happened; fails by the first seed that broke a flow."""
    events: Counter[str] = Counter()
    for seed in seeds:
        world = World(seed)
        world.run()
        assert not world.broken, f"World({seed}): {world.broken} flows of living backends in no list"
        events += world.events
    return events


def _slots(seats: Seats) -> tuple[Slot, ...]:
    return tuple(
        Slot(number, seat.weight, seat.backend, seat.state is State.ACTIVE) for number, seat in seats.items()
    )
