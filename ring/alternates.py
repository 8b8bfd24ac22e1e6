"""Step 4: the alternates, at most two earlier owners of a bucket that may still hold some of its flows.

They are the last two that differ as backends, latest first, never the owner of today and never one that
cannot answer any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from ring.engine import engine
from ring.errors import RingError
from ring.slots import MAX_BACKEND

Owners = NDArray[np.uint16]


def recall(
    owners: Owners, earlier: Iterable[Owners], allowed: Collection[int] | None = None
) -> tuple[Owners, Owners]:
    """Return (first, second), a backend id a bucket or 0, from the owners of earlier epochs, *latest first*.

    Only backends in `allowed` count (None: all): a disallowed one neither appears nor takes up a place.
    """
    first, second = np.zeros_like(owners), np.zeros_like(owners)
    flags = _flags(allowed)
    for past in earlier:
        engine().remember(owners, past, flags, first, second)
    return first, second


def _flags(allowed: Collection[int] | None) -> NDArray[np.uint8]:
    """One flag a backend id; that of 0, "none", is never set."""
    flags = np.full(MAX_BACKEND + 1, allowed is None, dtype=np.uint8)
    for backend in allowed or ():
        if not 0 <= backend <= MAX_BACKEND:
            raise RingError(f"allowed alternates: backend id {backend} must be 1..{MAX_BACKEND}")
        flags[backend] = 1
    flags[0] = 0
    return flags
