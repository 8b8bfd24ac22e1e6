"""What a pool's next epoch would do to its flows: buckets that move, second chances, what waits, what breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbnode.core.admission import Admitted, Flows, Held, admit, history_of, pushed
from lbnode.core.epochs import Inputs, derive
from lbnode.core.flows import answered, describe, names_by_id
from lbnode.core.history import (
    build_table,
    earlier_epochs,
    with_window,
)
from lbnode.core.lateness import next_window
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.fleet import Pool
from lbnode.model.forecast import Broken, HeldBack, PoolForecast, Share
from lbnode.model.ids import BackendId, BackendName
from lbnode.model.view import FleetView
from ring.slots import MAX_BACKEND
from ring.table import Table

Mask = NDArray[np.bool_]
"""One flag a bucket."""

NO_PLACE = "pushed out: two later owners of their buckets are asked first"
NO_AGENT = "their buckets go to a backend without agent, which cannot pass them on"
FAILED = "failed: it no longer has a place beside those that live"
WINDOW_OVER = "their affinity window is over"


@dataclass(frozen=True, slots=True)
class _Step:
    """A pool before and after, with the flows that agents have reported."""

    before: Epoch
    after: Epoch
    old: Table
    new: Table
    flows: Flows
    names: Mapping[BackendId, BackendName]

    def count(self, backend: BackendId, buckets: Mask) -> int | None:
        """Return the flows of `backend` in `buckets`; None when it was not asked."""
        report = self.flows.get(backend)
        return None if report is None else int(report[buckets].sum(dtype=np.int64))

    def name(self, backend: BackendId) -> BackendName:
        return self.names.get(backend, BackendName(f"id {backend}"))


def foresee_pool(view: FleetView, pool: Pool, inputs: Inputs, wall: float) -> PoolForecast:
    """Return what happens to `pool` when it becomes what the operator wants. Raises MissingEpochError."""
    before = view.newest(pool.name)
    result = derive(pool, before, inputs)
    target = result.epoch
    names = names_by_id(view)
    if before is None:
        return PoolForecast(
            pool.name,
            pool.table_size,
            pool.table_size,
            tuple(_shares(None, build_table(target), names)),
            None,
        )
    epochs = view.epochs[pool.name]
    earlier = earlier_epochs(epochs, before)
    window = (*earlier, before)
    flows = answered(view, before)
    admitted = admit(before, target, window, flows, result.failed_leavers)
    after = with_window(target, next_window(view, pool, before, target, wall))
    kept = [epoch for epoch in window if epoch.number >= after.window_from]
    step = _Step(before, after, build_table(before, earlier), build_table(after, kept), flows, names)
    held = _held_masks(target, window, admitted)
    return PoolForecast(
        pool=pool.name,
        table_size=before.table_size,
        moved=int((step.old.owners != step.new.owners).sum()),
        shares=tuple(_shares(step.old, step.new, names)),
        second_chances=_second_chances(step),
        held=tuple(_describe_held(one, step) for one in admitted.held),
        broken=tuple(_broken(step, held, pool.flow_table)),
        broken_by_force=tuple(_counted(step, held, NO_PLACE)),
    )


def _shares(old: Table | None, new: Table, names: Mapping[BackendId, BackendName]) -> Iterator[Share]:
    was = np.zeros_like(new.owners) if old is None else old.owners
    moved = was != new.owners
    columns = (was, new.owners, new.owners[moved], was[moved])
    counts = [np.bincount(column, minlength=MAX_BACKEND + 1) for column in columns]
    for number in np.flatnonzero(counts[0] + counts[1]).tolist():
        if number != 0:
            name = names.get(BackendId(number), BackendName(f"id {number}"))
            yield Share(name, *(int(count[number]) for count in counts))


def _second_chances(step: _Step) -> int | None:
    """Flows whose backend will be an alternate of their bucket, and no longer its owner."""
    if not step.flows:
        return None
    agents = _with_agent(step)
    return sum(
        step.count(number, _listed(step.new, number) & (step.new.owners != number) & agents) or 0
        for number in step.flows
    )


def _held_masks(target: Epoch, window: tuple[Epoch, ...], admitted: Admitted) -> dict[BackendId, Mask]:
    """Where living earlier owners lose their place if nothing waits; empty when nothing is held."""
    if not admitted.held:
        return {}
    return {BackendId(number): mask for number, mask in pushed(target, history_of(window)).items()}


def _describe_held(held: Held, step: _Step) -> HeldBack:
    waits_for = {step.name(number): flows for number, flows in held.waits_for.items()}
    return HeldBack(describe(held.before, held.after, step.names), waits_for)


def _broken(step: _Step, held: Mapping[BackendId, Mask], flow_table: bool) -> Iterator[Broken]:
    """What breaks without force: who loses its place for another reason, and who moves to one that cannot pass on."""
    states = {slot.backend: slot.state for slot in step.after.slots}
    lost = {number: _lost(step, number) & ~held.get(number, np.False_) for number in _listed_before(step)}
    failed = {number: mask for number, mask in lost.items() if states.get(number) is BackendState.FAILED}
    yield from _known(_counted(step, failed, FAILED))
    yield from _known(_counted(step, {n: m for n, m in lost.items() if n not in failed}, WINDOW_OVER))
    if not flow_table:
        deaf = ~_with_agent(step) & (step.old.owners != step.new.owners)
        moving = {
            BackendId(n): deaf & (step.old.owners == n)
            for n in np.unique(step.old.owners[deaf]).tolist()
            if n
        }
        yield from _counted(step, moving, NO_AGENT)


def _counted(step: _Step, masks: Mapping[BackendId, Mask], why: str) -> Iterator[Broken]:
    for number, mask in sorted(masks.items()):
        flows = step.count(number, mask)
        if mask.any() and flows != 0:
            yield Broken(step.name(number), flows, why)


def _known(broken: Iterator[Broken]) -> Iterator[Broken]:
    """Only what was counted: old flows of a closed window are nothing to guess about."""
    return (one for one in broken if one.flows is not None)


def _lost(step: _Step, number: BackendId) -> Mask:
    return _listed(step.old, number) & ~_listed(step.new, number)


def _listed(table: Table, number: BackendId) -> Mask:
    """The buckets whose list, owner or alternates, has `number`."""
    mask: Mask = (table.owners == number) | (table.first == number) | (table.second == number)
    return mask


def _listed_before(step: _Step) -> list[BackendId]:
    """Who was in the list of a bucket whose list changes."""
    old, new = step.old, step.new
    pairs = ((old.owners, new.owners), (old.first, new.first), (old.second, new.second))
    changed = np.logical_or.reduce([one != other for one, other in pairs])
    columns = np.concatenate([one[changed] for one, _ in pairs])
    return [BackendId(number) for number in np.unique(columns).tolist() if number]


def _with_agent(step: _Step) -> Mask:
    """The buckets whose new owner has the agent, or that have none."""
    deaf = [slot.backend for slot in step.after.slots if slot.backend is not None and not slot.agent]
    mask: Mask = ~np.isin(step.new.owners, np.array(deaf, dtype=np.uint16))
    return mask
