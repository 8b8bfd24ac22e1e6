"""What a pool's next epoch is: who sits in which slot, with which weight and state.

Decides: slot allotment (an occupant keeps its slot, a newcomer gets the lowest free one, a slot left empty stays
in the pool so that nobody else's buckets move), and states from intents and health. Does not decide when an
epoch is offered or becomes current: that is `lbnode.core.leader`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count
from uuid import UUID

from lbnode.core.health import Removals, limit_failures
from lbnode.model.epoch import ALGORITHM, BackendState, Epoch, EpochSlot
from lbnode.model.fleet import OnAllFailed, Pool, PoolMember
from lbnode.model.ids import BackendId, BackendName, EpochNumber, PoolName, SlotNumber
from ring.slots import Slot
from ring.table import Table, build

CURRENT_KEY = 1
"""The id of the fleet secret that new pools hash with."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything besides the pool's own definition that its next epoch depends on.

    `up` holds the fleet's verdict on each backend; a backend without a verdict is absent.
    """

    fleet: UUID
    ids: Mapping[BackendName, BackendId]
    drained: Collection[BackendName]
    up: Mapping[BackendName, bool]


@dataclass(frozen=True, slots=True)
class NextEpoch:
    """A pool's next epoch (its number already last + 1) and what health was not allowed to do."""

    epoch: Epoch
    withheld: frozenset[BackendName]
    all_down: bool


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
    """Return the epoch that should follow `before` (None: the pool's first), with an empty digest.

    It may equal `before` in all but its number: `same_shape` tells. Table size, seed, hash and key are taken
    from `before`, because they are fixed for a pool's life.
    """
    names = {inputs.ids[member.backend]: member.backend for member in pool.members}
    seated = _seated(before, names)
    allotted = allot_slots(pool.members, seated)
    by_slot = {allotted[member.backend]: member for member in pool.members}
    removals = _removals(pool, by_slot, before, inputs)
    slots = [_slot(number, member, inputs, removals) for number, member in by_slot.items()]
    slots += _empty_slots(before, by_slot)
    slots.sort(key=lambda slot: slot.number)
    return NextEpoch(
        epoch=_next(pool, before, inputs.fleet, tuple(slots)),
        withheld=frozenset(names[BackendId(number)] for number in removals.withheld),
        all_down=removals.all_down,
    )


def same_shape(one: Epoch, other: Epoch) -> bool:
    """True when two epochs differ at most in number, window and digest: nothing needs to be offered."""
    return (one.slots, one.former, one.algorithm) == (other.slots, other.former, other.algorithm)


def ring_slots(epoch: Epoch) -> tuple[Slot, ...]:
    """Return an epoch's slots as the values that `ring` builds tables from."""
    return tuple(
        Slot(
            slot.number,
            slot.weight,
            slot.backend or 0,
            slot.backend is not None and slot.state is BackendState.ACTIVE,
        )
        for slot in epoch.slots
    )


def build_table(epoch: Epoch) -> Table:
    """Return the table of an epoch. Alternates arrive with the affinity window; today there are none."""
    return build(epoch.table_size, epoch.seed, ring_slots(epoch))


def seal(epoch: Epoch) -> Epoch:
    """Return the epoch with the digest that its table has."""
    return replace(epoch, digest=build_table(epoch).digest())


def can_serve(slots: Sequence[EpochSlot]) -> bool:
    """True when some backend takes new flows."""
    return any(slot.backend is not None and slot.state is BackendState.ACTIVE for slot in slots)


def overlay(epoch: Epoch, up: Mapping[BackendId, bool], cap_percent: int) -> Epoch:
    """Return `epoch` as a node without the store sees it: its own verdicts on top, within the same cap.

    Backends that the epoch calls failed come back only by a good verdict of this node.
    """
    members = [
        slot.backend for slot in epoch.slots if slot.backend and slot.state is not BackendState.DRAINING
    ]
    before = frozenset(
        slot.backend for slot in epoch.slots if slot.backend and slot.state is BackendState.FAILED
    )
    down = frozenset(member for member in members if not up.get(member, member not in before))
    failed = limit_failures(members, down, before, cap_percent).failed
    slots = tuple(
        slot
        if slot.backend is None or slot.state is BackendState.DRAINING
        else replace(slot, state=BackendState.FAILED if slot.backend in failed else BackendState.ACTIVE)
        for slot in epoch.slots
    )
    return replace(epoch, slots=slots)


def _seated(before: Epoch | None, names: Mapping[BackendId, BackendName]) -> dict[SlotNumber, BackendName]:
    if before is None:
        return {}
    return {
        slot.number: names[slot.backend] for slot in before.slots if slot.backend and slot.backend in names
    }


def _states_before(before: Epoch | None) -> dict[BackendId, BackendState]:
    slots = before.slots if before is not None else ()
    return {slot.backend: slot.state for slot in slots if slot.backend is not None}


def _removals(
    pool: Pool, by_slot: Mapping[SlotNumber, PoolMember], before: Epoch | None, inputs: Inputs
) -> Removals:
    """Which members health fails: judged in slot order, draining ones left aside (they get no new flows anyway)."""
    if pool.health is None:
        return Removals(frozenset(), frozenset(), all_down=False)
    states = _states_before(before)
    judged = [m.backend for _, m in sorted(by_slot.items()) if m.backend not in inputs.drained]
    members = [inputs.ids[name] for name in judged]
    failed_before = frozenset(
        id_ for id_ in members if states.get(id_, BackendState.FAILED) is BackendState.FAILED
    )
    down = frozenset(
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
    return EpochSlot(number, member.weight, backend, state)


def _empty_slots(before: Epoch | None, taken: Collection[SlotNumber]) -> list[EpochSlot]:
    """Slots that nobody occupies any more: kept, so that only the leaver's own buckets move."""
    slots = before.slots if before is not None else ()
    return [
        EpochSlot(slot.number, slot.weight, None, BackendState.FAILED)
        for slot in slots
        if slot.number not in taken
    ]


def _next(pool: Pool, before: Epoch | None, fleet: UUID, slots: tuple[EpochSlot, ...]) -> Epoch:
    number = EpochNumber(before.number + 1 if before is not None else 1)
    if before is not None:
        return replace(before, number=number, slots=slots, window_from=number, digest="", algorithm=ALGORITHM)
    return Epoch(
        fleet=fleet,
        pool=pool.name,
        number=number,
        algorithm=ALGORITHM,
        table_size=pool.table_size,
        seed=pool_seed(fleet, pool.name),
        hash_mode=pool.hash_mode,
        hash_algorithm=pool.hash_algorithm,
        key_id=CURRENT_KEY,
        slots=slots,
        former=(),
        window_from=number,
        digest="",
    )
