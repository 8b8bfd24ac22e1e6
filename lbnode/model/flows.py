"""What agents say of the flows that they hold, and what planned changes wait for."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbnode.model.ids import BackendName, EpochNumber, PoolName


@dataclass(frozen=True, slots=True)
class FlowQuestion:
    """The leader asks the agents of `pool`: in which buckets do you hold flows? Asked while `epoch` is current.

    `number` counts questions of a pool; an answer to an older question says nothing about newer epochs.
    """

    pool: PoolName
    number: int
    epoch: EpochNumber


@dataclass(frozen=True, slots=True)
class FlowReport:
    """An agent's answer: how many flows it holds in each bucket of a pool's table.

    `counts` is a column of `size` little-endian uint16 (saturating), zlib-compressed, in base64: a record of a few
    hundred bytes for most. `total` is the sum. A report is only made once the agent has loaded `epoch`.
    """

    backend: BackendName
    pool: PoolName
    question: int
    epoch: EpochNumber
    size: int
    total: int
    counts: str

    @classmethod
    def of(cls, backend: BackendName, asked: FlowQuestion, counts: NDArray[np.uint16]) -> FlowReport:
        """Return the report that says `counts` (flows by bucket)."""
        packed = base64.b64encode(zlib.compress(counts.astype("<u2").tobytes(), 1)).decode()
        return cls(backend, asked.pool, asked.number, asked.epoch, len(counts), int(counts.sum()), packed)

    def flows(self) -> NDArray[np.uint16]:
        """Return the flows by bucket. Raises ValueError if the record is damaged."""
        try:
            column = np.frombuffer(zlib.decompress(base64.b64decode(self.counts)), dtype="<u2")
        except zlib.error as error:
            raise ValueError(f"flow report of {self.backend}: {error}") from error
        if len(column) != self.size:
            raise ValueError(f"flow report of {self.backend}: {len(column)} buckets, not {self.size}")
        return column


@dataclass(frozen=True, slots=True)
class HeldChange:
    """A planned change that would break flows now. `waits_for`: backend → flows there (None: it cannot tell).

    `what` reads "drain b3"; `since` and `until` are seconds of the leader's wall clock, `until` the end of the window.
    """

    what: str
    waits_for: Mapping[BackendName, int | None]
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class HeldChanges:
    """All that the leader holds in one pool, written for everybody's status."""

    pool: PoolName
    changes: tuple[HeldChange, ...] = ()
