"""The verb that lets one backend take over the slot of another, so that exactly that one's buckets move.

Decides what the operator's fleet becomes: the newcomer is given the slot by number, the leaver is in the pool no
more. When the newcomer takes it (once it is up) and how long the leaver still counts is the leader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lbnode.core.control_members import (
    address_objection,
    agent_objection,
    invalid,
    with_backend,
    without_flow_table,
)
from lbnode.core.control_pools import (
    NO_FLEET,
    has,
    joined_objection,
    let_go,
    pools_of,
    slot_of,
    without_drain,
)
from lbnode.core.drain import flows_left
from lbnode.core.plan import Decision, Plan
from lbnode.core.rules import check_name
from lbnode.model.epoch import EpochSlot
from lbnode.model.fleet import DesiredFleet, Pool, PoolMember
from lbnode.model.ids import BackendId, BackendName, PoolName, SlotNumber
from lbnode.model.requests import Change, Difference, Refusal, RefusalKind, ReplaceBackend
from lbnode.model.view import FleetView


def replace_backend(view: FleetView, request: ReplaceBackend) -> Decision:
    """Give the slot of one backend to another; the first leaves the pool, and the fleet when no pool has it."""
    desired = view.desired
    if desired is None:
        return NO_FLEET
    pools = pools_of(view, request.name, request.pool)
    if isinstance(pools, Refusal):
        return pools
    refusal = _objection(view, desired, request, pools)
    if refusal is not None:
        return refusal
    new, added = with_backend(desired, request.by, request.addresses, agent=request.agent)
    seats = {pool.name: _seat(view, pool, request.name) for pool in pools}
    new = replace(new, pools=tuple(_exchange(pool, request, seats.get(pool.name)) for pool in new.pools))
    leaves = not any(has(pool, request.name) for pool in new.pools)
    if leaves:
        new = replace(new, backends=tuple(one for one in new.backends if one.name != request.name))
    intents = without_drain(view.intents, request.name, {pool.name for pool in pools})
    intents = without_drain(intents, request.by, {pool.name for pool in pools})
    if request.force:
        intents = let_go(view, intents, [pool.name for pool in pools])
    return Plan(
        view.desired_version,
        view.intents_version,
        desired=new,
        intents=None if intents == view.intents else intents,
        differences=(*added, *_differences(request, seats), *_departure(request, leaves)),
        warnings=without_flow_table(new, request.by, [pool.name for pool in pools]),
    )


def _seat(view: FleetView, pool: Pool, name: BackendName) -> SlotNumber | None:
    """The slot that a backend sits in, else the one that it is to take over once it is up."""
    slot = slot_of(view, pool.name, name)
    return slot.number if slot is not None else _wanted(pool, name)


def _wanted(pool: Pool, name: BackendName) -> SlotNumber | None:
    return next((member.slot for member in pool.members if member.backend == name), None)


def _exchange(pool: Pool, request: ReplaceBackend, seat: SlotNumber | None) -> Pool:
    if seat is None:
        return pool

    def exchange(member: PoolMember) -> PoolMember:
        return PoolMember(request.by, member.weight, seat) if member.backend == request.name else member

    return replace(pool, members=tuple(exchange(member) for member in pool.members))


def _differences(request: ReplaceBackend, seats: dict[PoolName, SlotNumber | None]) -> Iterator[Difference]:
    for pool, seat in seats.items():
        if seat is not None:
            what = f"{request.name} → {request.by}"
            yield Difference(Change.CHANGED, f"pool {pool}, slot {seat}", what)


def _departure(request: ReplaceBackend, leaves: bool) -> tuple[Difference, ...]:
    return (Difference(Change.REMOVED, f"backend {request.name}"),) if leaves else ()


def _objection(
    view: FleetView, desired: DesiredFleet, request: ReplaceBackend, pools: list[Pool]
) -> Refusal | None:
    problem = check_name(request.by)
    if problem is not None:
        return invalid(f"name {request.by} {problem}")
    if request.by == request.name:
        return Refusal(
            RefusalKind.INVALID,
            f"{request.name} cannot replace itself",
            f"to restart it: lbctl backend drain {request.name} --wait",
        )
    refusal = joined_objection(
        view, request.name, pools, "start another one that joins; then stop this one: it drains and leaves"
    )
    refusal = refusal or agent_objection(desired, request.by, agent=request.agent)
    refusal = refusal or address_objection(desired, request.by, request.addresses, pools)
    for pool in pools:
        refusal = refusal or _seat_objection(view, request, pool)
    return refusal


def _seat_objection(view: FleetView, request: ReplaceBackend, pool: Pool) -> Refusal | None:
    if has(pool, request.by):
        return Refusal(
            RefusalKind.STATE,
            f"{request.by} is in pool {pool.name} already, with a slot of its own",
            f"use a backend that is not, or drain and remove {request.name}: the others share its buckets",
        )
    seat = slot_of(view, pool.name, request.name)
    if seat is not None:
        return None if request.force else _former_objection(view, pool, seat)
    wanted = _wanted(pool, request.name)
    occupant = _occupant(view, pool, wanted)
    if occupant is None:
        return Refusal(
            RefusalKind.STATE,
            f"{request.name} has no slot in pool {pool.name} yet",
            "try again in a moment; if it lasts, lbctl status says why",
        )
    if request.force:
        return None
    return Refusal(
        RefusalKind.STATE,
        f"slot {wanted} of pool {pool.name} is being replaced already: {occupant} serves there until "
        f"{request.name} is up",
        f"see why {request.name} is not up: lbctl status; or repeat with --force: {request.name} never takes over",
    )


def _former_objection(view: FleetView, pool: Pool, seat: EpochSlot) -> Refusal | None:
    """A slot whose occupant before still holds flows is being replaced: there is one leaver at a time."""
    epoch = view.newest(pool.name)
    for former in epoch.former if epoch is not None else ():
        if former.slot != seat.number:
            continue
        name = _name(view, former.backend)
        flows = flows_left(view, pool.name, name)
        count = (
            "may still hold flows"
            if flows is None
            else f"still holds {flows} flow{'' if flows == 1 else 's'}"
        )
        return Refusal(
            RefusalKind.STATE,
            f"slot {seat.number} of pool {pool.name} is being replaced already: {name} left it and {count}",
            "wait until lbctl status does not list it any more, or repeat with --force: its flows may break",
        )
    return None


def _occupant(view: FleetView, pool: Pool, number: int | None) -> BackendName | None:
    epoch = view.newest(pool.name)
    slots = epoch.slots if epoch is not None else ()
    seated = next((slot.backend for slot in slots if slot.number == number), None)
    return None if seated is None else _name(view, seated)


def _name(view: FleetView, number: BackendId) -> BackendName:
    names = {member.id: member.name for member in view.backends.values()}
    return names.get(number, BackendName(f"the backend with id {number}"))
