"""Admission: whom a planned change would push out of the lists of buckets in which it may still hold flows.

Decides what holds a change, and for whom. A bucket's list is its owner and at most two alternates; a change that
makes a third living earlier owner fall out of it would break the flows that this one still holds there. Failures
are nobody's decision and are never asked about; failed backends hold nothing (they are not among the living). Does
not decide what the changes are, when windows end, or what `--force` means: leave epochs out of the history, or
backends out of the living.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ring.alternates import Standing, recall
from ring.engine import engine
from ring.slots import Lineup, Slot, line_up
from ring.table import distinct, owners_of, past

Pushed = dict[int, NDArray[np.bool_]]
"""Backend id → one flag a bucket: an earlier owner that would be neither owner nor alternate of it."""

Flows = Mapping[int, NDArray[np.integer] | None]
"""Backend id → how many flows it holds in each bucket, by a report made after the last switch; None: none made."""

Holding = dict[int, int | None]
"""Backend id → how many flows there a change waits for (None: it cannot tell). Empty: the change goes ahead."""


def pushed_out(
    size: int,
    seed: int,
    history: Sequence[Sequence[Slot] | Lineup],
    candidate: Sequence[Slot],
    living: Collection[int],
) -> Pushed:
    """Return the backends that `candidate` would leave out of buckets they owned: backend id → buckets.

    `history` are the slots of the epochs in the window, or line-ups, oldest first, the current one last. `living` are
    the ids that are preferred as alternates under `candidate`: only they count. Backends that are left out nowhere are
    absent. Raises RingError as `ring.table.build` does.
    """
    newest = line_up(candidate)
    owners = owners_of(size, seed, newest)
    earlier = [past(size, seed, lineup) for lineup in distinct(newest, history)]
    first, second, is_full = recall(owners, earlier, Standing(preferred=living))
    if not is_full:
        return {}
    backends = sorted(frozenset(living) & frozenset(chain.from_iterable(epoch.backends for epoch in earlier)))
    flags = engine().left_out(owners, first, second, [epoch.owners for epoch in earlier], backends)
    return {backend: row for backend, row in zip(backends, flags, strict=True) if row.any()}


def judge(pushed: Mapping[int, NDArray[np.bool_]], flows: Flows) -> Holding:
    """Return whom a change that leaves out `pushed` has to wait for, and for how many flows there.

    A backend without a report cannot tell, so the change waits for it; one that counts no flow in its buckets
    holds nothing.
    """
    holding: Holding = {}
    for backend, buckets in sorted(pushed.items()):
        if not buckets.any():
            continue
        report = flows.get(backend)
        count = None if report is None else int(report[buckets].sum(dtype=np.int64))
        if count != 0:
            holding[backend] = count
    return holding
