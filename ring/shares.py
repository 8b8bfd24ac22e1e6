"""How a table is shared out: what status and plans say of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def buckets_by_backend(owners: NDArray[np.uint16]) -> dict[int, int]:
    """Return how many buckets each backend owns, by ascending id; id 0 counts buckets without an owner."""
    counts = np.bincount(owners)
    return {int(backend): int(counts[backend]) for backend in np.flatnonzero(counts)}


def moved(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> float:
    """Return the share, 0 to 1, of the buckets whose owner differs between two tables of the same size."""
    return float(np.count_nonzero(before != after)) / len(after)
