"""A backend that leaves, beside a leader that follows: every record is what the two would write."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Unpack

from lbnode.backend.leaving import FREED_S, SURE_S, Departure, Stage
from lbnode.core.leader import COUNTED_S, Leader
from lbnode.model.fleet import Join
from lbnode.model.ids import BackendName, NodeName
from lbnode.model.members import AgentLive, AgentMember, LoadedEpoch
from lbnode.model.view import FleetView

from ..core.fleets import VIP, WEB, AgentChanges, apply_commands, current, fleet, node, settle, view_of

B1, B2 = BackendName("b1"), BackendName("b2")
N1 = NodeName("n1")
DRAIN_S = 60.0


def member(name: BackendName, host: int, **changes: Unpack[AgentChanges]) -> AgentMember:
    agent = AgentMember(name, (ip_address(f"10.0.5.{host}"),), 1, joins=(WEB,))
    return replace(agent, **changes)


def at_rest(*listed: str) -> FleetView:
    """Two backends in pool web, both connected: those that are not listed have joined."""
    view = replace(view_of(fleet(*listed, join=Join.AUTO)), agents={B1: member(B1, 1), B2: member(B2, 2)})
    return in_step(settle(view))


def in_step(view: FleetView, flows: int | None = 0) -> FleetView:
    """A node and both agents use the current epoch; b1, when asked, counts `flows`."""
    number = current(view).number
    loaded = LoadedEpoch(None, number, current(view).digest)
    counts = {} if flows is None else {WEB: flows}
    return replace(
        view,
        live_nodes={N1: replace(node("n1"), pools={WEB: loaded}, announced=(VIP,))},
        live_agents={
            B1: AgentLive(B1, "0", {WEB: number}, flows=counts),
            B2: AgentLive(B2, "0", {WEB: number}),
        },
    )


def saying(view: FleetView, **changes: Unpack[AgentChanges]) -> FleetView:
    """b1's registration with these changes."""
    return replace(view, agents={**view.agents, B1: replace(view.agents[B1], **changes)})


def drained(flows: int | None = 0) -> FleetView:
    """b1 has said that it leaves, and the leader has made the epoch for it."""
    return in_step(settle(saying(at_rest(), leaving=True)), flows)


def leaver() -> Departure:
    return Departure(B1, 0.0, DRAIN_S)


def without_b1(view: FleetView) -> FleetView:
    return replace(view, agents={B2: view.agents[B2]})


def test_a_leaver_drains_until_its_flows_are_surely_gone() -> None:
    departure = leaver()
    assert departure.handle(at_rest(), 0.0) is Stage.DRAINING
    assert departure.handle(drained(flows=3), 1.0) is Stage.DRAINING
    assert departure.handle(drained(), 2.0) is Stage.DRAINING
    assert departure.handle(drained(flows=1), 3.0) is Stage.DRAINING
    assert departure.handle(drained(), 4.0) is Stage.DRAINING
    assert departure.handle(drained(), 4.0 + SURE_S) is Stage.OUT
    assert departure.broken is None


def test_a_leaver_that_nobody_knows_of_yet_is_not_drained() -> None:
    departure = leaver()
    for now in (0.0, SURE_S, 2 * SURE_S):
        assert departure.handle(in_step(at_rest()), now) is Stage.DRAINING


def test_patience_ends_and_says_whose_flows_it_did_not_wait_for() -> None:
    departure = leaver()
    assert departure.handle(drained(flows=3), DRAIN_S) is Stage.OUT
    assert departure.broken == {WEB: 3}


def test_patience_ends_without_the_store_too() -> None:
    departure = leaver()
    lost = replace(drained(), connected=False)
    assert departure.handle(lost, DRAIN_S - 1) is Stage.DRAINING
    assert departure.handle(lost, DRAIN_S) is Stage.OUT
    assert departure.handle(lost, DRAIN_S + FREED_S) is Stage.GONE


def test_a_leaver_stays_until_no_epoch_names_it() -> None:
    """So that nobody passes packets on to a machine that is gone."""
    leader, departure = Leader(), leaver()
    departure.handle(drained(), 0.0)
    assert departure.handle(drained(), SURE_S) is Stage.OUT
    view = in_step(settle(without_b1(drained()), leader))
    assert [former.backend for former in current(view).former] == [view.backends[B1].id]
    assert departure.handle(view, SURE_S) is Stage.OUT
    view = settle(view, leader, now=2 * COUNTED_S)
    assert current(view).former == ()
    assert departure.handle(in_step(view), SURE_S) is Stage.GONE


def test_a_leaver_that_is_not_let_go_ends_all_the_same() -> None:
    departure = leaver()
    departure.handle(drained(), 0.0)
    assert departure.handle(drained(), SURE_S) is Stage.OUT
    assert departure.handle(drained(), SURE_S + FREED_S) is Stage.GONE


def test_a_backend_that_the_operator_lists_keeps_its_slot_and_ends_once_it_is_drained() -> None:
    view = in_step(settle(saying(at_rest("b1", "b2"), leaving=True)))
    departure = leaver()
    departure.handle(view, 0.0)
    assert departure.handle(view, SURE_S) is Stage.GONE


def test_where_no_node_is_connected_there_is_nothing_to_wait_for() -> None:
    view = replace(drained(flows=5), live_nodes={})
    assert leaver().handle(view, 0.0) is Stage.GONE


def test_a_leader_forgets_a_leaver_when_its_agent_has_ended() -> None:
    view = settle(without_b1(drained()))
    view = replace(in_step(view), live_agents={B2: AgentLive(B2, "0", {WEB: current(view).number})})
    leader = Leader()
    for now in (0.0, 7300.0, 7301.0):
        view = in_step(apply_commands(view, leader.handle(view, now, now).commands))
        view = replace(view, live_agents={B2: view.live_agents[B2]})
        view = settle(view, leader, now=now, wall=now)
    assert set(view.backends) == {B2}
