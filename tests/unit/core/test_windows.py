"""Epochs with memory: windows, alternates, former occupants, replacement, and what is held; a leader over time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnode.core.epochs import allot_slots
from lbnode.core.leader import ASK_AGAIN_S, COUNTED_S, SETTLE_S, Leader
from lbnode.core.writes import AskForFlows
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import PoolMember
from lbnode.model.ids import BackendName, NodeName, PoolName, SlotNumber
from lbnode.model.tunnel import TunnelFamily

from .fleet_over_time import Fleet, crowded
from .fleets import WEB, apply_commands, drain, fleet, node, settle, view_of


def test_the_owners_before_a_drain_are_alternates_until_the_window_ends() -> None:
    web = Fleet("b1", "b2", "b3")
    before = web.table.owners.copy()
    web.view = drain(web.view, "b2")
    web.settle()
    moved = before == web.id("b2")
    assert (web.table.first[moved] == web.id("b2")).all()
    assert not web.table.first[~moved].any()
    web.count(b2=0)
    web.settle(after_s=web.window_s + 1)
    assert not web.table.first.any()
    assert web.epoch.window_from == web.epoch.number


def test_a_window_stays_open_while_a_draining_backend_counts_flows() -> None:
    web = Fleet("b1", "b2", "b3")
    web.view = drain(web.view, "b2")
    web.settle()
    web.count(b2=3)
    web.settle(after_s=10 * web.window_s)
    assert web.table.first.any()
    web.count(b2=0)
    web.settle(after_s=1)
    assert not web.table.first.any()


def test_a_closed_window_is_not_closed_again_and_again() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply(
        "b1",
        "b2",
        "b3",
        members=(PoolMember(BackendName("b1"), 2), *web.desired("b2", "b3").pools[0].members),
    )
    web.settle()
    web.settle(after_s=web.window_s + 1)
    number = web.epoch.number
    for _ in range(5):
        web.settle(after_s=web.window_s + 1)
    assert web.epoch.number == number


def test_all_nodes_build_the_table_that_the_leader_sealed_whoever_joined_late() -> None:
    web = Fleet("b1", "b2", "b3", "b4")
    for name in ("b2", "b3"):
        web.view = drain(web.view, name)
        web.settle()
    assert web.table.digest() == web.epoch.digest
    assert web.table.first.any()


def test_a_removed_backend_stays_a_former_occupant_until_it_counts_no_flows() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply("b1", "b3")
    web.settle()
    (former,) = web.epoch.former
    assert (former.backend, former.slot, former.state) == (web.id("b2"), 1, BackendState.DRAINING)
    assert web.id("b2") in set(web.table.first.tolist())
    web.count(b2=4)
    web.settle(after_s=COUNTED_S)
    assert web.epoch.former
    number = web.id("b2")
    web.count(b2=0)
    web.settle(after_s=COUNTED_S)
    assert not web.epoch.former
    assert number not in set(web.table.first.tolist())
    assert BackendName("b2") in web.view.backends
    web.view = replace(web.view, live_agents={k: v for k, v in web.view.live_agents.items() if k != "b2"})
    web.settle()
    assert BackendName("b2") not in web.view.backends


def test_zero_flows_counted_before_all_nodes_have_the_epoch_do_not_end_a_former_occupant() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply("b1", "b3")
    web.settle()
    web.count(b2=0)
    web.view = replace(web.view, live_nodes={NodeName("n1"): node("n1", web.epoch.number - 1)})
    decision = web.leader.handle(web.view, web.now + COUNTED_S, web.now + COUNTED_S)
    assert decision.commands == ()


def replaced(up: bool | None) -> Fleet:
    """A pool in which b9 was put into the slot of b2 while its first check says `up`."""
    web = Fleet("b1", "b2", "b3")
    verdicts = {"b1": True, "b2": True, "b3": True}
    web.apply("b1", "b2", "b3", health=True)
    web.acknowledge()
    web.join("b9")
    members = (
        PoolMember(BackendName("b1")),
        PoolMember(BackendName("b9"), 1, SlotNumber(1)),
        PoolMember(BackendName("b3")),
    )
    web.apply("b1", "b2", "b3", "b9", health=True, members=members)
    if up is not None:
        verdicts["b9"] = up
    web.up = verdicts
    web.settle()
    return web


@pytest.mark.parametrize("up", [None, False])
def test_a_replacement_takes_the_slot_only_when_it_is_up(up: bool | None) -> None:
    web = replaced(up)
    slot = web.epoch.slots[1]
    assert (slot.backend, slot.state) == (web.id("b2"), BackendState.ACTIVE)


def test_a_replacement_that_is_up_takes_the_slot_and_the_leaver_keeps_its_flows() -> None:
    web = replaced(True)
    slot = web.epoch.slots[1]
    assert (slot.backend, slot.state) == (web.id("b9"), BackendState.ACTIVE)
    table = web.table
    own = table.owners == web.id("b9")
    assert own.any()
    assert (table.first[own] == web.id("b2")).all()
    assert {former.backend for former in web.epoch.former} == {web.id("b2")}


def weights(**numbers: int) -> tuple[PoolMember, ...]:
    return tuple(PoolMember(BackendName(name), weight) for name, weight in numbers.items())


def test_a_change_that_would_push_out_flows_waits_and_says_for_whom() -> None:
    web = crowded()
    before = web.epoch.number
    web.view = drain(web.view, "b1", "b2", "b3")
    web.settle()
    assert web.epoch.number == before
    assert web.held == ["drain b3"]
    (change,) = web.view.held[PoolName("web")].changes
    assert change.waits_for
    assert all(count is not None and count > 0 for count in change.waits_for.values())


def test_a_held_change_goes_ahead_when_the_flows_are_gone() -> None:
    web = crowded()
    web.view = drain(web.view, "b1", "b2", "b3")
    web.settle()
    web.flows = {}
    web.settle(after_s=ASK_AGAIN_S)
    web.settle(after_s=ASK_AGAIN_S)
    assert web.held == []
    assert web.epoch.slots[2].state is BackendState.DRAINING


def test_a_held_change_does_not_hold_a_harmless_one() -> None:
    web = crowded()
    web.view = drain(web.view, "b1", "b2", "b3")
    web.apply("b1", "b2", "b3", "b4", "b5")
    web.join("b5")
    web.settle()
    assert "drain b3" in web.held


def test_a_held_change_does_not_hold_one_of_the_tunnels() -> None:
    web = crowded()
    web.view = drain(web.view, "b1", "b2", "b3")
    web.settle()
    web.apply("b1", "b2", "b3", "b4", tunnel=TunnelFamily.IPV6)
    web.settle(after_s=ASK_AGAIN_S)
    assert (web.held, web.epoch.tunnel) == (["drain b3"], TunnelFamily.IPV6)


def test_force_goes_ahead_at_once_and_counts_for_one_epoch_only() -> None:
    web = crowded()
    number = web.epoch.number
    drained = drain(web.view, "b1", "b2", "b3")
    web.view = replace(drained, intents=replace(drained.intents, forced={WEB: number}))
    web.settle()
    assert web.epoch.number == number + 1
    assert web.epoch.slots[2].state is BackendState.DRAINING
    assert web.held == []


def test_the_end_of_the_window_ends_the_wait() -> None:
    web = crowded()
    web.view = drain(web.view, "b1", "b2", "b3")
    web.settle()
    assert web.held
    web.count(b1=0, b2=0, b3=0)
    web.settle(after_s=web.window_s + 1)
    web.settle(after_s=web.window_s + 1)
    assert web.held == []
    assert web.epoch.slots[2].state is BackendState.DRAINING


def test_a_failure_is_never_held() -> None:
    web = crowded()
    web.apply("b1", "b2", "b3", "b4", health=True)
    web.acknowledge()
    web.up = {"b3": False, "b4": True}
    web.settle()
    assert web.epoch.slots[2].state is BackendState.FAILED
    assert web.epoch.slots[2].answers


def test_with_a_flow_table_a_planned_change_stays_on_offer_while_flows_are_written_down() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply("b1", "b2", "b3", flow_table=True, udp_idle_s=30.0)
    web.settle()
    web.view = drain(web.view, "b2")
    began = web.now
    offer = web.leader.handle(web.view, began, began)
    web.view = apply_commands(web.view, offer.commands)
    web.acknowledge()
    assert web.leader.handle(web.view, began + 29.9, began).commands == ()
    web.settle(after_s=30.0)
    assert web.epoch.slots[1].state is BackendState.DRAINING


def test_with_a_flow_table_a_failure_does_not_wait() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply("b1", "b2", "b3", flow_table=True, udp_idle_s=30.0, health=True)
    web.settle()
    verdicts = {WEB: {BackendName("b1"): True, BackendName("b2"): False, BackendName("b3"): True}}
    began = web.now
    for _ in range(3):
        web.acknowledge()
        nodes = {name: replace(each, verdicts=verdicts) for name, each in web.view.live_nodes.items()}
        web.view = replace(web.view, live_nodes=nodes)
        decision = web.leader.handle(web.view, began, began)
        web.view = apply_commands(web.view, decision.commands)
    assert web.epoch.slots[1].state is BackendState.FAILED


def test_a_failure_ends_the_wait_of_a_planned_change() -> None:
    web = Fleet("b1", "b2", "b3", "b4")
    web.apply("b1", "b2", "b3", "b4", flow_table=True, udp_idle_s=30.0, health=True)
    web.settle()
    web.view = drain(web.view, "b2")
    verdicts = {WEB: {BackendName("b1"): True, BackendName("b3"): False, BackendName("b4"): True}}
    began = web.now
    for _ in range(5):
        web.acknowledge()
        nodes = {name: replace(each, verdicts=verdicts) for name, each in web.view.live_nodes.items()}
        web.view = replace(web.view, live_nodes=nodes)
        decision = web.leader.handle(web.view, began, began)
        web.view = apply_commands(web.view, decision.commands)
    states = [slot.state for slot in web.epoch.slots]
    assert states == [BackendState.ACTIVE, BackendState.DRAINING, BackendState.FAILED, BackendState.ACTIVE]


def test_agents_are_asked_only_once_a_switch_has_settled_and_with_growing_numbers() -> None:
    web = crowded()
    web.view = drain(web.view, "b1", "b2", "b3")
    web.leader = Leader()
    web.view = replace(web.view, questions={}, reports={})
    first = web.leader.handle(web.view, 1000.0, web.now)
    assert not any(isinstance(command, AskForFlows) for command in first.commands)
    assert first.wake_at is not None
    assert first.wake_at <= 1000.0 + SETTLE_S
    web.view = apply_commands(web.view, first.commands)
    second = web.leader.handle(web.view, 1000.0 + SETTLE_S, web.now)
    (question,) = [command.question for command in second.commands if isinstance(command, AskForFlows)]
    assert (question.number, question.epoch) == (1, web.epoch.number)


def test_an_answer_about_an_older_epoch_is_no_answer() -> None:
    web = crowded()
    web.flows = {}
    web.view = drain(web.view, "b1", "b2", "b3")
    web.acknowledge()
    web.answering = False
    web.settle()
    assert web.held == ["drain b3"]
    (change,) = web.view.held[PoolName("web")].changes
    assert set(change.waits_for.values()) == {None}


def test_slots_that_newcomers_ask_for_are_given() -> None:
    assert allot_slots(
        (PoolMember(BackendName("b9"), 1, SlotNumber(1)),), {SlotNumber(1): BackendName("b2")}
    ) == {"b9": 1}


def test_the_leader_at_rest_in_a_settled_fleet_writes_nothing() -> None:
    assert Leader().handle(settle(view_of(fleet("b1", "b2"))), 0.0, 0.0).commands == ()
