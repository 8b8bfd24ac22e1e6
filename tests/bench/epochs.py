"""What an epoch costs on its way into the kernel: table built, written aside, switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from lbnode.dataplane.values import Limits, PoolTable
from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.ids import EpochNumber, PoolName
from ring import table
from ring.bucket import derive_keys
from ring.slots import Slot
from tests.bench.fleet import SECRET, TABLE_SIZE, make_fleet
from tests.bench.packets import filled

HEAD = f"{'backends, ms':<14}" + "".join(
    f"{step:>17}" for step in ("build, first", "build, next", "stage", "switch", "epoch to kernel")
)
ROUNDS = 9
POOL = PoolName("epochs")


@dataclass(frozen=True, slots=True)
class EpochCost:
    """Medians in ms. `build_first`: nothing known before; `build_next`: one backend more has failed since."""

    backends: int
    build_first_ms: float
    build_next_ms: float
    stage_ms: float
    switch_ms: float

    @property
    def epoch_to_kernel_ms(self) -> float:
        """From an epoch to a table that carries traffic."""
        return self.build_next_ms + self.stage_ms + self.switch_ms

    @property
    def row(self) -> str:
        """A line of the table."""
        steps = (self.build_first_ms, self.build_next_ms, self.stage_ms, self.switch_ms)
        return f"{self.backends:<14}" + "".join(
            f"{each:>17.2f}" for each in (*steps, self.epoch_to_kernel_ms)
        )

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {"what": "epoch", **asdict(self), "epoch_to_kernel_ms": self.epoch_to_kernel_ms}


def epoch_costs() -> Iterator[EpochCost]:
    """Measure for 10, 100 and 1000 backends."""
    with filled(make_fleet(), Limits()) as node:
        for count in (10, 100, 1000):
            first, following, stage, switch = [], [], [], []
            for seed in range(ROUNDS):
                slots = tuple(Slot(number, backend=number + 1) for number in range(count))
                failed = (*slots[:-1], replace(slots[-1], active=False))
                first.append(_timed(partial(table.build, TABLE_SIZE, seed, slots)))
                after = partial(table.build, TABLE_SIZE, seed, failed, (slots,))
                following.append(_timed(after))
                built = _pool_table(after(), seed + 1)
                stage.append(_timed(partial(node.stage, built)))
                switch.append(_timed(partial(node.switch, POOL)))
            yield EpochCost(count, *(median(each) for each in (first, following, stage, switch)))
            node.drop_pool(POOL)


def _pool_table(built: table.Table, epoch: int) -> PoolTable:
    owners, first, second = (np.asarray(column) for column in (built.owners, built.first, built.second))
    return PoolTable(
        POOL, EpochNumber(epoch), TABLE_SIZE, HashMode.FLOW, HashAlgorithm.MULTIPLY, derive_keys(SECRET, 1),
        owners, first, second,
    )  # fmt: skip


def _timed(work: Callable[[], object]) -> float:
    before = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - before) / 1e6
