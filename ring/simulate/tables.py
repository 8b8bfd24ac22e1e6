"""The four ways to make a table that are compared: each turns a line-up into one slot index a bucket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ring import failover, maglev
from ring.slots import Lineup
from ring.table import home_of

Servers = NDArray[np.uint16]
"""The index in the line-up of the slot that serves each bucket."""

Rule = Callable[[int, int, Lineup, Servers | None], Servers]
"""(size, seed, line-up, servers before or None) → servers. Some slot must be serving."""

_NO_SLOT = 65534


def home_and_failover(size: int, seed: int, lineup: Lineup, _: Servers | None = None) -> Servers:
    """Return evenkeel's own table: a function of the line-up alone."""
    return failover.serve(home_of(size, seed, lineup), lineup, seed)


def maglev_rebuilt(size: int, seed: int, lineup: Lineup, _: Servers | None = None) -> Servers:
    """Return Maglev over the slots that serve, as if the others did not exist."""
    serving = np.flatnonzero(lineup.serving)
    offsets, skips = maglev.permutations(lineup.numbers[serving].tolist(), seed, size)
    members = maglev.populate(offsets, skips, lineup.weights[serving], size)
    return serving.astype(np.uint16)[members]


def rendezvous(size: int, seed: int, lineup: Lineup, _: Servers | None = None) -> Servers:
    """Return the first serving slot in each bucket's weighted rendezvous order: failover for every bucket."""
    everywhere_down = Lineup(
        np.append(lineup.numbers, np.uint16(_NO_SLOT)),
        np.append(lineup.weights, np.uint16(1)),
        np.append(lineup.backends, np.uint16(0)),
        np.append(lineup.serving, np.uint8(0)),
    )
    return failover.serve(np.full(size, len(lineup), dtype=np.uint16), everywhere_down, seed)


def minimal_stateful(size: int, seed: int, lineup: Lineup, before: Servers | None = None) -> Servers:
    """Return the table before, with as few buckets moved as the weights allow, chosen at random by the seed."""
    if before is None:
        return maglev_rebuilt(size, seed, lineup)
    targets = _targets(size, lineup)
    order = np.random.default_rng(seed).permutation(size)
    grouped = order[np.argsort(before[order], kind="stable")]
    slots = before[grouped]
    starts = np.searchsorted(slots, np.arange(len(lineup)))
    in_excess = np.arange(size) - starts[slots] >= targets[slots]
    freed = np.random.default_rng(seed + 1).permutation(grouped[in_excess])
    held = np.minimum(np.bincount(before, minlength=len(lineup)), targets)
    servers = before.copy()
    servers[freed] = np.repeat(np.arange(len(lineup), dtype=np.uint16), targets - held)
    return servers


def _targets(size: int, lineup: Lineup) -> NDArray[np.int64]:
    """How many buckets each slot should serve: by weight, remainders to the first slots."""
    weights = lineup.weights.astype(np.int64) * lineup.serving
    shares = size * weights // weights.sum()
    left = size - int(shares.sum())
    shares[np.flatnonzero(weights)[:left]] += 1
    return np.asarray(shares, dtype=np.int64)


RULES: dict[str, Rule] = {
    "Maglev rebuilt": maglev_rebuilt,
    "minimal stateful": minimal_stateful,
    "rendezvous": rendezvous,
    "home + failover": home_and_failover,
}
"""What is compared, by the name that tables and pictures give it."""
