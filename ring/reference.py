"""The tables' definition in plain Python: what every other implementation must equal byte for byte.

Slow and obvious on purpose. `ring.fast` does the same in C; this serves where the shared library is not
built. Members and slots are named by their index in the arguments; arguments were checked by the callers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ring.logarithm import minus_log2
from ring.mixing import bucket_base, key_of, mix, slot_base

NOBODY = 0xFFFF
"""Marks a bucket that no slot serves."""


def populate(
    offsets: NDArray[np.uint32], skips: NDArray[np.uint32], weights: NDArray[np.uint16], size: int
) -> NDArray[np.uint16]:
    """Return the member at home in each of `size` places: Maglev, with accumulated credit for weights.

    Each round gives every member its weight as credit, in order; whoever has the largest weight's worth pays
    it and claims the next place of its permutation (offset, offset + skip, …) that is free.
    """
    home, left = [NOBODY] * size, size
    places, steps, income = offsets.tolist(), skips.tolist(), weights.tolist()
    credits, price = [0] * len(income), max(income)
    while True:
        for member, weight in enumerate(income):
            credits[member] += weight
            if credits[member] < price:
                continue
            credits[member] -= price
            while home[places[member]] != NOBODY:
                places[member] = (places[member] + steps[member]) % size
            home[places[member]] = member
            left -= 1
            if not left:
                return np.array(home, dtype=np.uint16)


def failover(
    home: NDArray[np.uint16],
    numbers: NDArray[np.uint16],
    weights: NDArray[np.uint16],
    serving: NDArray[np.uint8],
    seed: int,
) -> NDArray[np.uint16]:
    """Return the slot that serves each bucket: its home, or else the best of those that serve, or NOBODY.

    Best is the least `score`; of equals the lowest slot number (slots are in the order of their numbers).
    """
    candidates = np.flatnonzero(serving).tolist()
    keys = [key_of(slot_base(seed), number) for number in numbers.tolist()]
    shares, start = weights.tolist(), bucket_base(seed)

    def best(bucket: int) -> int:
        key = key_of(start, bucket)
        return min(candidates, key=lambda slot: score(key, keys[slot], shares[slot]), default=NOBODY)

    servers = [slot if serving[slot] else best(bucket) for bucket, slot in enumerate(home.tolist())]
    return np.array(servers, dtype=np.uint16)


def score(bucket_key: int, slot_key: int, weight: int) -> int:
    """Return the slot's lot in the bucket: exponentially distributed with rate `weight`; least wins."""
    draw = mix(bucket_key ^ slot_key) >> 32
    return (minus_log2(draw) << 16) // weight


def remember(
    owners: NDArray[np.uint16],
    earlier: Sequence[NDArray[np.uint16]],
    mixed: Sequence[bool],
    allowed: NDArray[np.uint8],
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
) -> bool:
    """Take the owners of earlier epochs, latest first, into the alternates `first` and `second` of `owners`.

    All these columns have one backend id (0: none) a bucket. `allowed` has one flag a backend id, that of 0 unset;
    `mixed` tells of each epoch whether some of its owners are not allowed. Return whether an allowed owner found no
    place.
    """
    is_any_out = False
    for column, is_mixed in zip(earlier, mixed, strict=True):
        for bucket, backend in enumerate(column.tolist()):
            if backend in (0, owners[bucket], first[bucket], second[bucket]):
                continue
            if is_mixed and not allowed[backend]:
                continue
            if not first[bucket]:
                first[bucket] = backend
            elif not second[bucket]:
                second[bucket] = backend
            else:
                is_any_out = True
    return is_any_out


def left_out(
    owners: NDArray[np.uint16],
    first: NDArray[np.uint16],
    second: NDArray[np.uint16],
    earlier: Sequence[NDArray[np.uint16]],
    backends: Sequence[int],
) -> NDArray[np.bool_]:
    """Return a row of one flag a bucket for each of `backends`: set where it owned the bucket in one of the `earlier`
    epochs, and is in today's lists no more.
    """
    flags = np.zeros((len(backends), len(owners)), dtype=np.bool_)
    rows = {backend: row for row, backend in enumerate(backends)}
    for column in earlier:
        for bucket, backend in enumerate(column.tolist()):
            if backend in rows and backend not in (owners[bucket], first[bucket], second[bucket]):
                flags[rows[backend], bucket] = True
    return flags
