"""Which of the two equal implementations does the work: C where it was built, else the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ring import fast, reference

NOBODY = reference.NOBODY


class Engine(Protocol):
    """What `ring.reference` defines."""

    def populate(
        self,
        offsets: NDArray[np.uint32],
        skips: NDArray[np.uint32],
        weights: NDArray[np.uint16],
        size: int,
    ) -> NDArray[np.uint16]: ...

    def failover(
        self,
        home: NDArray[np.uint16],
        numbers: NDArray[np.uint16],
        weights: NDArray[np.uint16],
        serving: NDArray[np.uint8],
        seed: int,
    ) -> NDArray[np.uint16]: ...

    def remember(
        self,
        owners: NDArray[np.uint16],
        earlier: Sequence[NDArray[np.uint16]],
        mixed: Sequence[bool],
        allowed: NDArray[np.uint8],
        first: NDArray[np.uint16],
        second: NDArray[np.uint16],
    ) -> bool: ...

    def left_out(
        self,
        owners: NDArray[np.uint16],
        first: NDArray[np.uint16],
        second: NDArray[np.uint16],
        earlier: Sequence[NDArray[np.uint16]],
        backends: Sequence[int],
    ) -> NDArray[np.bool_]: ...


def engine() -> Engine:
    """Return the faster of those at hand."""
    return fast.load() or reference
