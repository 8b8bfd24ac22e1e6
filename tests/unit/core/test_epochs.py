from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lbnode.core.epochs import Inputs, allot_slots, derive, overlay, same_shape
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.fleet import HealthCheck, OnAllFailed, Pool, PoolMember
from lbnode.model.ids import BackendId, BackendName, SlotNumber

from .fleets import FLEET, members, pool

NAMES = [BackendName(f"b{i}") for i in range(1, 9)]
IDS = {name: BackendId(i) for i, name in enumerate(NAMES, 1)}
CHECK = HealthCheck(port=80)


def inputs(up: Mapping[str, bool] | None = None, drained: tuple[str, ...] = ()) -> Inputs:
    verdicts = {BackendName(name): value for name, value in (up or {}).items()}
    return Inputs(FLEET, IDS, [BackendName(name) for name in drained], verdicts)


def states(epoch: Epoch) -> dict[int, BackendState]:
    return {slot.backend: slot.state for slot in epoch.slots if slot.backend is not None}


def step(definition: Pool, before: Epoch | None = None, up: Mapping[str, bool] | None = None) -> Epoch:
    return derive(definition, before, inputs(up)).epoch


def test_members_take_the_lowest_free_slots_in_their_order() -> None:
    assert allot_slots(members("b1", "b2"), {}) == {"b1": 0, "b2": 1}


def test_an_occupant_keeps_its_slot_and_a_newcomer_takes_the_leavers() -> None:
    seated = {SlotNumber(0): NAMES[0], SlotNumber(1): NAMES[1], SlotNumber(2): NAMES[2]}
    assert allot_slots(members("b3", "b4", "b1"), seated) == {"b1": 0, "b3": 2, "b4": 1}


def test_a_slot_that_is_asked_for_is_given() -> None:
    asked = (PoolMember(NAMES[0]), PoolMember(NAMES[1], slot=SlotNumber(0)))
    assert allot_slots(asked, {SlotNumber(0): NAMES[0]}) == {"b2": 0, "b1": 1}


@given(st.lists(st.sampled_from(NAMES), unique=True), st.lists(st.sampled_from(NAMES), unique=True))
def test_no_two_members_share_a_slot_and_nobody_who_stays_moves(
    first: list[BackendName], second: list[BackendName]
) -> None:
    before = allot_slots(members(*first), {})
    after = allot_slots(members(*second), {slot: name for name, slot in before.items()})
    assert len(set(after.values())) == len(second)
    assert all(after[name] == before[name] for name in second if name in before)


def test_a_newcomer_gets_no_flows_before_its_agent_is_connected() -> None:
    for health, up in ((None, {}), (CHECK, {"b1": True, "b2": True})):
        definition = replace(pool("b1", "b2"), health=health)
        before = step(replace(pool("b1"), health=health), up={"b1": True})
        waiting = replace(inputs(up), awaited=frozenset({IDS[NAMES[1]]}))
        epoch = derive(definition, before, waiting).epoch
        assert states(epoch) == {1: BackendState.ACTIVE}
        assert states(derive(definition, epoch, inputs(up)).epoch)[2] is BackendState.ACTIVE
        first = derive(definition, None, waiting).epoch
        assert states(first)[2] is BackendState.FAILED


def test_a_newcomer_gets_its_slot_when_it_is_ready_so_that_each_bucket_moves_once() -> None:
    definition = replace(pool("b1", "b2", "b3"), health=CHECK)
    before = step(replace(pool("b1", "b2"), health=CHECK), up={"b1": True, "b2": True})
    for verdicts in ({}, {"b3": False}):
        assert same_shape(before, step(definition, before, {"b1": True, "b2": True, **verdicts}))
    after = step(definition, before, {"b1": True, "b2": True, "b3": True})
    assert states(after) == dict.fromkeys((1, 2, 3), BackendState.ACTIVE)
    assert states(step(definition, after, {"b1": True, "b2": True, "b3": False}))[3] is BackendState.FAILED


def test_a_backend_keeps_its_flows_while_its_agent_is_away() -> None:
    before = step(pool("b1", "b2"))
    away = replace(inputs(), awaited=frozenset({IDS[NAMES[0]], IDS[NAMES[1]]}))
    assert derive(pool("b1", "b2"), before, away).epoch.slots == before.slots


def test_a_replacement_takes_the_slot_only_when_its_agent_is_connected() -> None:
    before = step(pool("b1", "b2"))
    definition = replace(pool(), members=(PoolMember(NAMES[0]), PoolMember(NAMES[2], slot=SlotNumber(1))))
    away = replace(inputs(), awaited=frozenset({IDS[NAMES[2]]}))
    assert states(derive(definition, before, away).epoch) == {
        1: BackendState.ACTIVE,
        2: BackendState.ACTIVE,
    }
    assert states(derive(definition, before, inputs()).epoch) == {
        1: BackendState.ACTIVE,
        3: BackendState.ACTIVE,
    }


def test_a_leaver_that_is_down_fails_if_it_may_not_leave_within_the_cap() -> None:
    well = dict.fromkeys(("b1", "b2", "b3", "b4"), True)
    before = step(pool("b1", "b2", "b3", "b4", health=CHECK), up=well)
    without = pool("b1", "b2", "b4", health=CHECK)

    def failed_leavers(**down: bool) -> Mapping[BackendId, bool]:
        return derive(without, before, inputs(well | down)).failed_leavers

    assert failed_leavers() == {}
    assert failed_leavers(b1=False, b3=False) == {3: False}
    assert failed_leavers(b1=False, b2=False, b3=False) == {}


def test_a_removed_backend_leaves_its_slot_behind_so_that_nobody_else_moves() -> None:
    before = step(pool("b1", "b2", "b3"))
    after = step(pool("b1", "b3"), before)
    assert [(slot.number, slot.backend) for slot in after.slots] == [(0, 1), (1, None), (2, 3)]
    assert after.number == before.number + 1


def test_a_backend_with_a_health_check_serves_only_after_its_first_good_verdict() -> None:
    checked = pool("b1", "b2", health=CHECK)
    first = step(checked)
    assert states(first) == {1: BackendState.FAILED, 2: BackendState.FAILED}
    second = step(checked, first, {"b1": True})
    assert states(second) == {1: BackendState.ACTIVE, 2: BackendState.FAILED}


def test_an_active_backend_stays_active_while_nobody_has_an_opinion() -> None:
    checked = pool("b1", "b2", health=CHECK)
    first = step(checked, None, {"b1": True, "b2": True})
    assert same_shape(first, step(checked, first))


def test_without_a_health_check_backends_serve_at_once() -> None:
    assert set(states(step(pool("b1", "b2"))).values()) == {BackendState.ACTIVE}


def test_a_drained_backend_is_draining_and_does_not_count_as_failed() -> None:
    result = derive(pool("b1", "b2", health=CHECK), None, inputs({"b1": True, "b2": False}, drained=("b2",)))
    assert states(result.epoch) == {1: BackendState.ACTIVE, 2: BackendState.DRAINING}
    assert not result.withheld


def test_health_beyond_the_cap_is_withheld_and_named() -> None:
    checked = pool("b1", "b2", "b3", "b4", health=CHECK)
    first = step(checked, None, dict.fromkeys(["b1", "b2", "b3", "b4"], True))
    result = derive(checked, first, inputs({"b1": False, "b2": False, "b3": False, "b4": True}))
    assert states(result.epoch)[3] is BackendState.ACTIVE
    assert result.withheld == {"b3"}


def test_when_all_fail_the_pool_is_withdrawn_or_kept_as_the_operator_says() -> None:
    down = dict.fromkeys(["b1", "b2"], False)
    for choice, left in ((OnAllFailed.WITHDRAW, set()), (OnAllFailed.KEEP, {1, 2})):
        checked = pool("b1", "b2", health=CHECK, on_all_failed=choice)
        first = step(checked, None, dict.fromkeys(["b1", "b2"], True))
        result = derive(checked, first, inputs(down))
        assert result.all_down
        assert {id_ for id_, state in states(result.epoch).items() if state is BackendState.ACTIVE} == left


def test_what_is_fixed_for_a_pools_life_comes_from_its_last_epoch() -> None:
    before = step(pool("b1"))
    after = step(pool("b1", "b2", table_size=509), before)
    assert (after.table_size, after.seed, after.key_id) == (before.table_size, before.seed, before.key_id)


def test_a_node_on_its_own_fails_a_backend_by_its_own_verdict_and_takes_only_that_back() -> None:
    checked = pool("b1", "b2", "b3", "b4", health=CHECK)
    epoch = step(checked, None, {"b1": True, "b2": True, "b4": True})
    alone = overlay(epoch, {BackendId(2): False, BackendId(3): True}, 50)
    assert states(alone)[2] is BackendState.FAILED
    assert states(alone)[3] is BackendState.FAILED
    assert overlay(epoch, {BackendId(2): True, BackendId(3): True}, 50) == epoch


def test_a_node_on_its_own_takes_back_what_the_epoch_failed_when_nobody_else_serves() -> None:
    checked = pool("b1", "b2", health=CHECK)
    epoch = step(checked, None, {"b1": True})
    alone = overlay(epoch, {BackendId(1): False, BackendId(2): True}, 50)
    assert states(alone) == {1: BackendState.FAILED, 2: BackendState.ACTIVE}


def test_a_node_on_its_own_believes_the_epoch_where_it_has_no_verdict() -> None:
    checked = pool("b1", "b2", health=CHECK)
    epoch = step(checked, None, {"b1": True})
    assert overlay(epoch, {}, 50) == epoch
