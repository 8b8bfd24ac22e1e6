"""Rows of the counters: outcomes have the first ones, VIPs and backends are given theirs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.arena import Arena
from lbnode.dataplane.errors import CapacityError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.values import Count

Key = TypeVar("Key")


class CounterRows:
    """Which rows are free; a row starts at zero whenever it is given out."""

    def __init__(self, memory: NodeMemory, grace: Grace) -> None:
        self._counts = memory.counts
        self._grace = grace
        self._arena = Arena(memory.layout["OUTCOME_ROWS"], memory.layout["COUNT_ROWS"])

    def claim(self, row: int) -> None:
        """Take over a row that is in use in the kernel; more than one may use it."""
        self._arena.claim(row, 1)

    def allocate(self, what: str) -> int:
        """Return a row for `what`, at zero; raises CapacityError."""
        self._arena.reclaim(self._grace.passed)
        row = self._arena.allocate(1)
        if row is None and self._arena.has_retired:
            self._grace.ensure_all()
            self._arena.reclaim(self._grace.passed)
            row = self._arena.allocate(1)
        if row is None:
            raise CapacityError(f"{what}: no counter left: VIPs and backends together exceed COUNT_ROWS")
        self._counts[:, row] = 0
        return row

    def retire(self, row: int) -> None:
        """Give a row back: packets under way may still count in it."""
        self._arena.retire(row, self._grace.retire())

    def read(self, rows: list[int]) -> list[Count]:
        """Return the sums over all CPUs."""
        sums: NDArray[np.uint64] = self._counts[:, rows].sum(axis=0)
        return [Count(packets, size) for packets, size in sums.tolist()]

    def read_by(self, rows: Mapping[Key, int]) -> dict[Key, Count]:
        """Return the sums, by what the rows belong to."""
        return dict(zip(rows, self.read(list(rows.values())), strict=True))
