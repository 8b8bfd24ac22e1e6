"""What admission costs the leader: eight slots of a pool change at once, after sixty epochs that all still count."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from uuid import UUID

import numpy as np

from lbnode.core.admission import admit
from lbnode.model.epoch import ALGORITHM, BackendState, Epoch, EpochSlot
from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.ids import BackendId, EpochNumber, PoolName, SlotNumber
from tests.bench.fleet import TABLE_SIZE

HEAD = f"{'admission':<44}{'held':>8}{'ms':>8}"
SLOTS, EPOCHS, ROUNDS = 8, 60, 9
FEWEST_ACTIVE = 3


@dataclass(frozen=True, slots=True)
class AdmissionCost:
    """Median in ms of processor time; `held` slots wait afterwards."""

    what: str
    held: int
    milliseconds: float

    @property
    def row(self) -> str:
        """A line of the table."""
        return f"{self.what:<44}{self.held:>8}{self.milliseconds:>8.1f}"

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {**asdict(self), "what": "admission", "of": self.what}


def admission_costs() -> Iterator[AdmissionCost]:
    """Measure with backends that hold a flow in every bucket, and with such that hold none."""
    window = _window()
    before = window[-1]
    target = replace(
        before,
        slots=tuple(replace(slot, weight=slot.weight + 1) for slot in before.slots),
        number=_next(before),
    )
    for what, flows in (("a flow in every bucket", 1), ("no flows", 0)):
        reports = {BackendId(number + 1): np.full(TABLE_SIZE, flows, np.uint16) for number in range(SLOTS)}
        times, held = [], 0
        for _ in range(ROUNDS):
            began = time.thread_time()
            held = len(admit(before, target, window, reports).held)
            times.append(time.thread_time() - began)
        yield AdmissionCost(f"{SLOTS} slots, {EPOCHS} epochs, {what}", held, median(times) * 1000)


def _window() -> list[Epoch]:
    """Random changes of one slot each: drains, undrains and weights."""
    chance = random.Random(3)
    slots = tuple(
        EpochSlot(SlotNumber(number), 10, BackendId(number + 1), BackendState.ACTIVE, True)
        for number in range(SLOTS)
    )
    epoch = Epoch(
        fleet=UUID(int=7),
        pool=PoolName("bench"),
        number=EpochNumber(1),
        algorithm=ALGORITHM,
        table_size=TABLE_SIZE,
        seed=7,
        hash_mode=HashMode.FLOW,
        hash_algorithm=HashAlgorithm.MULTIPLY,
        key_id=1,
        slots=slots,
        former=(),
        window_from=EpochNumber(1),
        digest="",
    )
    window = [epoch]
    while len(window) < EPOCHS:
        epoch = replace(epoch, number=_next(epoch), slots=_changed(epoch.slots, chance))
        window.append(epoch)
    return window


def _changed(slots: tuple[EpochSlot, ...], chance: random.Random) -> tuple[EpochSlot, ...]:
    number = chance.randrange(SLOTS)
    slot = slots[number]
    active = sum(each.state is BackendState.ACTIVE for each in slots)
    if chance.random() < 0.5:
        slot = replace(slot, weight=chance.randint(5, 20))
    elif slot.state is BackendState.ACTIVE and active > FEWEST_ACTIVE:
        slot = replace(slot, state=BackendState.DRAINING)
    else:
        slot = replace(slot, state=BackendState.ACTIVE)
    return (*slots[:number], slot, *slots[number + 1 :])


def _next(epoch: Epoch) -> EpochNumber:
    return EpochNumber(epoch.number + 1)
