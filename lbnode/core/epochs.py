"""What a pool's next epoch is: who sits in which slot, with which weight and state, and who left but still counts.

Decides: slot allotment (an occupant keeps its slot, a newcomer gets the lowest free one, a new or an occupied one
only when it is ready, a slot left empty stays in the pool so that nobody else's buckets move), and states from
intents and health. Does not decide when an epoch is offered or becomes current (`lbnode.core.leader`), how long
earlier epochs count (`lbnode.core.history`), or what must wait (`lbnode.core.admission`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import count
from uuid import UUID

from lbnode.core.health import Removals, limit_failures
from lbnode.model.epoch import ALGORITHM, REBUILT, BackendState, Epoch, EpochSlot, FormerOccupant
from lbnode.model.fleet import OnAllFailed, Pool, PoolMember, TableKind
from lbnode.model.ids import BackendId, BackendName, EpochNumber, PoolName, SlotNumber

CURRENT_KEY = 1
"""The id of the fleet secret that new pools hash with."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything besides the pool's own definition that its next epoch depends on.

    `up` holds the fleet's verdict on each backend; a backend without a verdict is absent. `agents` have the agent,
    `connected` are those whose agent answers now. `drained_out` are former occupants that hold no flows any more.
    `awaited` should have an agent and it does not answer: they get no flows unless they have them already.
    """

    fleet: UUID
    ids: Mapping[BackendName, BackendId]
    drained: Collection[BackendName]
    up: Mapping[BackendName, bool]
    agents: Collection[BackendId] = field(default_factory=frozenset)
    connected: Collection[BackendId] = field(default_factory=frozenset)
    drained_out: Collection[BackendId] = field(default_factory=frozenset)
    awaited: Collection[BackendId] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class NextEpoch:
    """A pool's next epoch (its number already last + 1) and what health was not allowed to do.

    The epoch's window begins where that of the one before began, and its digest is empty. `failed_leavers` have a
    slot in the epoch before, none in this one, and fail if they may not leave; the value: their agent is connected.
    """

    epoch: Epoch
    withheld: frozenset[BackendName]
    all_down: bool
    failed_leavers: Mapping[BackendId, bool] = field(default_factory=dict)


def pool_seed(fleet: UUID, pool: PoolName) -> int:
    """Return the 32-bit seed of a pool's permutations: the same on every node that could become leader."""
    return int.from_bytes(blake2b(fleet.bytes + pool.encode(), digest_size=4).digest(), "big")


def allot_slots(
    members: Sequence[PoolMember], seated: Mapping[SlotNumber, BackendName]
) -> dict[BackendName, SlotNumber]:
    """Return each member's slot: the one it asks for, else the one it sits in, else the lowest free one."""
    allotted = {member.backend: member.slot for member in members if member.slot is not None}
    wanted = {member.backend for member in members}
    taken = set(allotted.values())
    for slot, backend in sorted(seated.items()):
        if backend in wanted and backend not in allotted and slot not in taken:
            allotted[backend] = slot
            taken.add(slot)
    free = (SlotNumber(number) for number in count() if number not in taken)
    for member in members:
        if member.backend not in allotted:
            allotted[member.backend] = next(free)
            taken.add(allotted[member.backend])
    return allotted


def derive(pool: Pool, before: Epoch | None, inputs: Inputs) -> NextEpoch:
    """Return the epoch that should follow `before` (None: the pool's first).

    It may equal `before` in all but its number: `same_shape` tells. Table size, seed, hash and key are taken
    from `before`, because they are fixed for a pool's life.
    """
    names = {number: name for name, number in inputs.ids.items()}
    allotted = allot_slots(pool.members, _seated(_slots(before), names))
    by_slot = {allotted[member.backend]: member for member in pool.members}
    waiting = _waiting_newcomers(pool, by_slot, before, inputs)
    absent = waiting | _unready_newcomers(pool, by_slot, before, inputs)
    seated_now = {number: member for number, member in by_slot.items() if number not in absent}
    staying = [slot for slot in _slots(before) if slot.number in waiting]
    sitting = {number: member.backend for number, member in seated_now.items()}
    removals = _removals(pool, sitting | _seated(_serving(staying), names), before, inputs)
    slots = [_slot(number, member, inputs, removals) for number, member in seated_now.items()]
    slots += [_staying(slot, inputs, removals) for slot in staying]
    slots += _empty_slots(before, by_slot)
    slots.sort(key=lambda slot: slot.number)
    return NextEpoch(
        epoch=_next(pool, before, inputs, tuple(slots)),
        withheld=frozenset(names[BackendId(number)] for number in removals.withheld),
        all_down=removals.all_down,
        failed_leavers=_failed_leavers(pool, before, slots, inputs, names),
    )


def same_shape(one: Epoch, other: Epoch) -> bool:
    """True when two epochs differ at most in number, window, time and digest: nothing needs to be offered."""
    return _shape(one) == _shape(other)


def _shape(epoch: Epoch) -> tuple[object, ...]:
    return epoch.slots, epoch.former, epoch.algorithm, epoch.tunnel


def with_slots(epoch: Epoch, before: Epoch, slots: tuple[EpochSlot, ...]) -> Epoch:
    """Return `epoch`, which follows `before`, with other slots: who leaves and still counts follows from them."""
    seated = {slot.backend for slot in slots}
    done = {entry.backend for entry in before.former} - {entry.backend for entry in epoch.former}
    done -= {slot.backend for slot in epoch.slots}
    carried = [entry for entry in before.former if entry.backend not in seated | done]
    return replace(epoch, slots=slots, former=(*carried, *_leavers(before, slots, epoch.number)))


def can_serve(slots: Sequence[EpochSlot]) -> bool:
    """True when some backend takes new flows."""
    return any(slot.backend is not None and slot.state is BackendState.ACTIVE for slot in slots)


def overlay(epoch: Epoch, up: Mapping[BackendId, bool], cap_percent: int) -> Epoch:
    """Return `epoch` as a node without the store sees it: its own verdicts on top, within the same cap.

    What the epoch calls failed is taken back only when nobody else serves: a recovery is a planned change, and
    whether it breaks a flow is not known here. Those that the node fails itself may still answer: their flows are
    not taken from them.
    """
    members = [
        slot.backend for slot in epoch.slots if slot.backend and slot.state is not BackendState.DRAINING
    ]
    before = frozenset(
        slot.backend for slot in epoch.slots if slot.backend and slot.state is BackendState.FAILED
    )
    down = frozenset(member for member in members if not up.get(member, member not in before))
    failed = limit_failures(members, down | before, before, cap_percent).failed
    if failed == frozenset(members):
        failed = limit_failures(members, down, before, cap_percent).failed
    return replace(epoch, slots=tuple(_as_seen(slot, failed) for slot in epoch.slots))


def _as_seen(slot: EpochSlot, failed: Collection[int]) -> EpochSlot:
    if slot.backend is None or slot.state is BackendState.DRAINING:
        return slot
    if slot.backend not in failed:
        return replace(slot, state=BackendState.ACTIVE, answers=False)
    if slot.state is BackendState.FAILED:
        return slot
    return replace(slot, state=BackendState.FAILED, answers=slot.agent)


def _slots(before: Epoch | None) -> tuple[EpochSlot, ...]:
    return before.slots if before is not None else ()


def _serving(slots: Iterable[EpochSlot]) -> list[EpochSlot]:
    """Those whose occupant gets new flows unless it fails."""
    return [slot for slot in slots if slot.backend and slot.state is not BackendState.DRAINING]


def _seated(
    slots: Iterable[EpochSlot], names: Mapping[BackendId, BackendName]
) -> dict[SlotNumber, BackendName]:
    return {slot.number: names[slot.backend] for slot in slots if slot.backend and slot.backend in names}


def _waiting_newcomers(
    pool: Pool, by_slot: Mapping[SlotNumber, PoolMember], before: Epoch | None, inputs: Inputs
) -> set[SlotNumber]:
    """Slots whose newcomer is not ready yet and whose occupant still serves: make before break."""
    waiting = set()
    for slot in _slots(before):
        newcomer = by_slot.get(slot.number)
        if newcomer is None or slot.backend is None or slot.state is BackendState.FAILED:
            continue
        if inputs.ids[newcomer.backend] != slot.backend and not _is_ready(pool, newcomer.backend, inputs):
            waiting.add(slot.number)
    seated = {slot.backend for slot in _slots(before)}
    return {number for number in waiting if inputs.ids[by_slot[number].backend] not in seated}


def _unready_newcomers(
    pool: Pool, by_slot: Mapping[SlotNumber, PoolMember], before: Epoch | None, inputs: Inputs
) -> set[SlotNumber]:
    """Slots that would be new and whose newcomer is not ready yet.

    With a slot that cannot serve the pool's buckets would move twice: to those who stand in for it, then to it.
    """
    if before is None:
        return set()
    known = {slot.number for slot in before.slots}
    seated = {slot.backend for slot in before.slots}
    return {
        number
        for number, member in by_slot.items()
        if number not in known
        and inputs.ids[member.backend] not in seated
        and not _is_ready(pool, member.backend, inputs)
    }


def _is_ready(pool: Pool, newcomer: BackendName, inputs: Inputs) -> bool:
    is_up = pool.health is None or inputs.up.get(newcomer, False)
    return is_up and inputs.ids[newcomer] not in inputs.awaited


def _states_before(before: Epoch | None) -> dict[BackendId, BackendState]:
    return {slot.backend: slot.state for slot in _slots(before) if slot.backend is not None}


def _removals(
    pool: Pool, sitting: Mapping[SlotNumber, BackendName], before: Epoch | None, inputs: Inputs
) -> Removals:
    """Which of them health fails: judged in slot order, draining ones left aside (they get no new flows anyway).

    Who was out stays out while its agent is awaited: without the agent's program its machine takes no GRE.
    """
    states = _states_before(before)
    judged = [name for _, name in sorted(sitting.items()) if name not in inputs.drained]
    members = [inputs.ids[name] for name in judged]
    failed_before = frozenset(
        id_ for id_ in members if states.get(id_, BackendState.FAILED) is BackendState.FAILED
    )
    absent = failed_before & frozenset(inputs.awaited)
    if pool.health is None:
        return Removals(absent, frozenset(), all_down=False)
    down = absent | frozenset(
        inputs.ids[name] for name in judged if not inputs.up.get(name, inputs.ids[name] not in failed_before)
    )
    removals = limit_failures(members, down, failed_before, pool.health_cap_percent)
    if removals.all_down and pool.on_all_failed is OnAllFailed.KEEP and failed_before != frozenset(members):
        return Removals(failed_before, down - failed_before, all_down=True)
    return removals


def _slot(number: SlotNumber, member: PoolMember, inputs: Inputs, removals: Removals) -> EpochSlot:
    backend = inputs.ids[member.backend]
    if member.backend in inputs.drained:
        state = BackendState.DRAINING
    elif backend in removals.failed:
        state = BackendState.FAILED
    else:
        state = BackendState.ACTIVE
    answers = state is BackendState.FAILED and backend in inputs.connected
    return EpochSlot(number, member.weight, backend, state, backend in inputs.agents, answers)


def _staying(slot: EpochSlot, inputs: Inputs, removals: Removals) -> EpochSlot:
    """An occupant that nobody wants any more, but that serves until its successor does."""
    slot = replace(slot, agent=slot.backend in inputs.agents)
    if slot.backend not in removals.failed:
        return slot
    return replace(slot, state=BackendState.FAILED, answers=slot.backend in inputs.connected)


def _failed_leavers(
    pool: Pool,
    before: Epoch | None,
    slots: Sequence[EpochSlot],
    inputs: Inputs,
    names: Mapping[BackendId, BackendName],
) -> dict[BackendId, bool]:
    """Return who fails if the epoch before goes on, and has no slot in the one that is wanted."""
    serving = _serving(_slots(before))
    leavers = {slot.backend for slot in serving if slot.backend} - {slot.backend for slot in slots}
    failed = _removals(pool, _seated(serving, names), before, inputs).failed if leavers else frozenset()
    return {leaver: leaver in inputs.connected for leaver in sorted(leavers & failed)}


def _empty_slots(before: Epoch | None, taken: Collection[SlotNumber]) -> list[EpochSlot]:
    """Slots that nobody occupies any more: kept, so that only the leaver's own buckets move."""
    return [
        EpochSlot(slot.number, slot.weight, None, BackendState.FAILED)
        for slot in _slots(before)
        if slot.number not in taken
    ]


def _formers(
    before: Epoch | None, slots: Sequence[EpochSlot], number: EpochNumber, inputs: Inputs
) -> tuple[FormerOccupant, ...]:
    """Who left and may still hold flows: out once drained, or once seated again (or outside the window: `history`)."""
    if before is None:
        return ()
    seated = {slot.backend for slot in slots}
    carried = [
        replace(entry, agent=entry.backend in inputs.agents, answers=entry.backend in inputs.connected)
        if entry.state is BackendState.FAILED
        else replace(entry, agent=entry.backend in inputs.agents)
        for entry in before.former
        if entry.backend not in seated and entry.backend not in inputs.drained_out
    ]
    return (*carried, *_leavers(before, slots, number))


def _leavers(before: Epoch, slots: Sequence[EpochSlot], number: EpochNumber) -> list[FormerOccupant]:
    seated = {slot.backend for slot in slots}
    return [
        FormerOccupant(
            slot=slot.number,
            backend=slot.backend,
            state=BackendState.FAILED if slot.state is BackendState.FAILED else BackendState.DRAINING,
            left_in=number,
            agent=slot.agent,
            answers=slot.answers,
        )
        for slot in before.slots
        if slot.backend is not None and slot.backend not in seated
    ]


def _next(pool: Pool, before: Epoch | None, inputs: Inputs, slots: tuple[EpochSlot, ...]) -> Epoch:
    number = EpochNumber(before.number + 1 if before is not None else 1)
    algorithm = REBUILT if pool.table is TableKind.MAGLEV else ALGORITHM
    if before is not None:
        former = _formers(before, slots, number, inputs)
        return replace(
            before,
            number=number,
            slots=slots,
            former=former,
            digest="",
            algorithm=algorithm,
            tunnel=pool.tunnel,
        )
    return Epoch(
        fleet=inputs.fleet,
        pool=pool.name,
        number=number,
        algorithm=algorithm,
        table_size=pool.table_size,
        seed=pool_seed(inputs.fleet, pool.name),
        hash_mode=pool.hash_mode,
        hash_algorithm=pool.hash_algorithm,
        key_id=CURRENT_KEY,
        slots=slots,
        former=(),
        window_from=number,
        digest="",
        tunnel=pool.tunnel,
    )
