"""What agents' counts mean for the leader: who still holds flows, and what held changes wait for, in words.

Decides: whether a former occupant is done, whether a window must stay open, and how a held change reads. Does not
decide what is held (`lbnode.core.admission`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from lbnode.core.admission import Held
from lbnode.model.epoch import BackendState, Epoch, EpochSlot
from lbnode.model.flows import HeldChange, HeldChanges
from lbnode.model.ids import BackendId, BackendName
from lbnode.model.view import FleetView


def leaving(epoch: Epoch) -> frozenset[BackendId]:
    """Return who gets no new flows and may hold old ones: draining occupants and former ones."""
    draining = {slot.backend for slot in epoch.slots if slot.state is BackendState.DRAINING}
    former = {entry.backend for entry in epoch.former if entry.state is BackendState.DRAINING}
    return frozenset(backend for backend in draining | former if backend is not None)


def may_hold_flows(view: FleetView, epoch: Epoch) -> bool:
    """True while a connected agent of somebody who is leaving counts flows, or has not counted yet."""
    names = names_by_id(view)
    for backend in leaving(epoch):
        live = view.live_agents.get(names.get(backend, BackendName("")))
        if live is not None and live.flows.get(epoch.pool, 1) > 0:
            return True
    return False


def drained_out(view: FleetView, epoch: Epoch) -> frozenset[BackendId]:
    """Return the former occupants that hold no flows: their agents have the epoch, as all nodes have, and count 0."""
    nodes = [node.pools.get(epoch.pool) for node in view.live_nodes.values()]
    if any(loaded is None or loaded.current != epoch.number for loaded in nodes):
        return frozenset()
    names = names_by_id(view)
    done = set()
    for entry in epoch.former:
        live = view.live_agents.get(names.get(entry.backend, BackendName("")))
        if live is None or live.pools.get(epoch.pool, 0) < epoch.number:
            continue
        if live.flows.get(epoch.pool) == 0:
            done.add(entry.backend)
    return frozenset(done)


def answered(view: FleetView, epoch: Epoch) -> dict[BackendId, NDArray[np.uint16]]:
    """Return the flows by bucket of each backend that has answered a question about `epoch`.

    An answer to an earlier question about the same epoch counts: in buckets that a backend does not own any more its
    flows only become fewer.
    """
    found = {}
    for name, report in view.reports.get(epoch.pool, {}).items():
        member = view.backends.get(name)
        if member is None or report.epoch != epoch.number or report.size != epoch.table_size:
            continue
        try:
            found[member.id] = report.flows()
        except ValueError:
            continue
    return found


def held_changes(
    view: FleetView, epoch: Epoch, held: tuple[Held, ...], wall: float, window_s: float
) -> HeldChanges:
    """Return what is held in words; what was held before keeps its time."""
    names = names_by_id(view)
    before = view.held.get(epoch.pool, HeldChanges(epoch.pool))
    since = {change.what: (change.since, change.until) for change in before.changes}
    changes = []
    for each in held:
        what = describe(each.before, each.after, names)
        began, until = since.get(what, (wall, wall + window_s))
        waits_for = {
            names.get(number, BackendName(f"id {number}")): flows for number, flows in each.waits_for.items()
        }
        changes.append(HeldChange(what, waits_for, began, until))
    return HeldChanges(epoch.pool, tuple(changes))


def describe(before: EpochSlot | None, after: EpochSlot, names: Mapping[BackendId, BackendName]) -> str:
    """Return a planned change of a slot as an operator would say it: "drain b3"."""
    return ", ".join(_words(before, after, names)) or f"change slot {after.number}"


def _words(
    before: EpochSlot | None, after: EpochSlot, names: Mapping[BackendId, BackendName]
) -> Iterator[str]:
    def name(backend: BackendId) -> str:
        return names.get(backend, BackendName(f"id {backend}"))

    if before is None or before.backend is None:
        yield (
            f"add {name(after.backend)}"
            if after.backend is not None
            else f"weight of empty slot {after.number}"
        )
        return
    if after.backend is None:
        yield f"remove {name(before.backend)}"
    elif after.backend != before.backend:
        yield f"replace {name(before.backend)} by {name(after.backend)}"
    else:
        if after.state is not before.state:
            yield f"{_verb(before.state, after.state)} {name(after.backend)}"
        if after.weight != before.weight:
            yield f"weight of {name(after.backend)} {before.weight} → {after.weight}"


def _verb(before: BackendState, after: BackendState) -> str:
    if after is BackendState.DRAINING:
        return "drain"
    return "undrain" if before is BackendState.DRAINING else "take back"


def names_by_id(view: FleetView) -> dict[BackendId, BackendName]:
    """Return the members' names by id."""
    return {member.id: name for name, member in view.backends.items()}
