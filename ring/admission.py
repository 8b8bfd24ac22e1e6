"""Admission: whom a planned change would push out of the lists of buckets in which it may still hold flows.

Decides what holds a change, and for whom. A bucket's list is its owner and at most two alternates; a change that
makes a third living earlier owner fall out of it would break the flows that this one still holds there. Failures
are nobody's decision and are never asked about; failed backends hold nothing (they are not among the living). Does
not decide what the changes are, when windows end, or what `--force` means: leave epochs out of the history, or
backends out of the living.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ring.alternates import Standing, flags_of, recall
from ring.engine import engine
from ring.slots import Slot, line_up
from ring.table import distinct, owners_of

Pushed = dict[int, NDArray[np.bool_]]
"""Backend id → one flag a bucket: an earlier owner that would be neither owner nor alternate of it."""

Flows = Mapping[int, NDArray[np.integer] | None]
"""Backend id → how many flows it holds in each bucket, by a report made after the last switch; None: none made."""

Holding = dict[int, int | None]
"""Backend id → how many flows there a change waits for (None: it cannot tell). Empty: the change goes ahead."""


def pushed_out(
    size: int,
    seed: int,
    history: Sequence[Sequence[Slot]],
    candidate: Sequence[Slot],
    living: Collection[int],
) -> Pushed:
    """Return the backends that `candidate` would leave out of buckets they owned: backend id → buckets.

    `history` are the slots of the epochs in the window, oldest first, the current one last. `living` are the ids
    that are preferred as alternates under `candidate`: only they count. Backends that are left out nowhere are
    absent. Raises RingError as `ring.table.build` does.
    """
    newest = line_up(candidate)
    owners = owners_of(size, seed, newest)
    past = [owners_of(size, seed, lineup) for lineup in distinct(newest, history)]
    first, second = recall(owners, past, Standing(preferred=living))
    allowed = flags_of("living backends", living)
    pushed: Pushed = {}
    for epoch in past:
        buckets = engine().left_out(owners, first, second, epoch, allowed)
        _take(pushed, epoch[buckets], buckets, size)
    return pushed


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


def _take(pushed: Pushed, backends: NDArray[np.uint16], buckets: NDArray[np.uint32], size: int) -> None:
    for backend in np.unique(backends).tolist():
        mask = pushed.setdefault(backend, np.zeros(size, dtype=np.bool_))
        mask[buckets[backends == backend]] = True
