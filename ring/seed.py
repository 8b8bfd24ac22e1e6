"""A pool's seed, fixed for its life: it sets permutations, failover and keys apart from other pools'."""

from __future__ import annotations

from ring.errors import RingError

MAX_SEED = (1 << 64) - 1


def check_seed(seed: int) -> None:
    """Raise RingError unless `seed` fits into 64 bits."""
    if not 0 <= seed <= MAX_SEED:
        raise RingError(f"seed {seed}: must be 0..2^64-1")
