"""Step 2: the home table, Maglev over slots (Eisenbud et al., NSDI 2016) with integer weights.

Permutations come from a slot's number and the pool's seed alone: never from addresses, never from the order
of insertion. `populate` takes any permutations, so that vectors of other Maglev implementations can be run
through it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache

import mmh3
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ring.engine import engine
from ring.errors import RingError
from ring.seed import check_seed

MAX_SIZE = 1 << 24
MAX_MEMBERS = 65535
MAX_WEIGHT = 65535

_NAME = struct.Struct("<IQ")


def check_size(size: int) -> None:
    """Raise RingError unless `size` is a prime below 2^24: only then does every skip walk the whole table."""
    if not 2 <= size < MAX_SIZE or not _is_prime(size):
        raise RingError(f"table size {size}: must be a prime below {MAX_SIZE}, such as 65537")


def permutations(
    slot_numbers: Iterable[int], seed: int, size: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return (offsets, skips), one of each a slot: where its permutation of the table starts, and its step.

    MurmurHash3 (x64, 128 bits) of number and seed; its halves modulo `size` and modulo `size` - 1, plus 1.
    Raises RingError for a size that is no prime and a seed outside 0..2^64-1.
    """
    check_size(size)
    check_seed(seed)
    halves = np.array(
        [mmh3.hash64(_NAME.pack(number, seed), signed=False) for number in slot_numbers], dtype=np.uint64
    ).reshape(-1, 2)
    offsets = halves[:, 0] % np.uint64(size)
    skips = halves[:, 1] % np.uint64(size - 1) + np.uint64(1)
    return offsets.astype(np.uint32), skips.astype(np.uint32)


def populate(offsets: ArrayLike, skips: ArrayLike, weights: ArrayLike, size: int) -> NDArray[np.uint16]:
    """Return the index of the member at home in each place of a table of `size` places.

    Offsets 0..size-1, skips 1..size-1 without a common factor with `size`, weights 1..65535: one of each a
    member, in the order in which members take their turns. A member takes a turn whenever its accumulated
    credit, its weight a round, reaches the largest weight. Raises RingError for anything else.
    """
    if not 2 <= size < MAX_SIZE:
        raise RingError(f"table size {size}: must be 2..{MAX_SIZE - 1}")
    starts = _checked("offset", offsets, 0, size - 1)
    steps = _checked("skip", skips, 1, size - 1)
    shares = _checked("weight", weights, 1, MAX_WEIGHT)
    if not len(starts) == len(steps) == len(shares):
        raise RingError(f"members: {len(starts)} offsets, {len(steps)} skips and {len(shares)} weights")
    if not 1 <= len(starts) <= MAX_MEMBERS:
        raise RingError(f"members: {len(starts)} given, must be 1..{MAX_MEMBERS}")
    short = np.flatnonzero(np.gcd(steps, size) != 1)
    if short.size:
        raise RingError(
            f"skip of member {short[0]}: {steps[short[0]]} has a common factor with table size {size}"
        )
    return engine().populate(
        starts.astype(np.uint32), steps.astype(np.uint32), shares.astype(np.uint16), size
    )


def _checked(what: str, values: ArrayLike, least: int, most: int) -> NDArray[np.int64]:
    column = np.atleast_1d(np.asarray(values, dtype=np.int64))
    wrong = np.flatnonzero((column < least) | (column > most))
    if wrong.size:
        raise RingError(f"{what} of member {wrong[0]}: {column[wrong[0]]} must be {least}..{most}")
    return column


@cache
def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
