"""Backends that come into a pool by registering, and go out of it by leaving."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Unpack

from lbnode.core.control import decide
from lbnode.core.forecast import forecast
from lbnode.core.joining import drained, void_registrations, wanted_fleet
from lbnode.core.leader import Leader
from lbnode.core.plan import Plan
from lbnode.core.status import assess
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import Join
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.members import AgentLive, AgentMember, NodeMember
from lbnode.model.requests import (
    Apply,
    DrainBackend,
    Refusal,
    RemoveBackend,
    ReplaceBackend,
    Request,
    UndrainBackend,
    WeighBackend,
)
from lbnode.model.tunnel import TunnelFamily
from lbnode.model.view import FleetView

from .fleets import WEB, AgentChanges, current, fleet, node, pool, settle, slot_of, view_of

LATER = 7300.0
"""When every window that began at 0 has ended, and nothing is held for it."""

C1, C2, C3, C4 = (BackendName(f"c{number}") for number in range(1, 5))


def asking(name: str, host: int, **changes: Unpack[AgentChanges]) -> AgentMember:
    """An agent at 10.0.5.`host` that asks to be let into pool web."""
    member = AgentMember(BackendName(name), (ip_address(f"10.0.5.{host}"),), 1, joins=(WEB,))
    return replace(member, **changes)


def registered(view: FleetView, *agents: AgentMember) -> FleetView:
    return replace(view, agents={**view.agents, **{agent.name: agent for agent in agents}})


def unregistered(view: FleetView, name: BackendName) -> FleetView:
    return replace(view, agents={key: agent for key, agent in view.agents.items() if key != name})


def connected(view: FleetView, *names: BackendName) -> FleetView:
    return replace(view, live_agents={name: AgentLive(name, "0") for name in names})


def open_fleet(*listed: str) -> FleetView:
    """A fleet whose pool `web` lets in whoever asks, besides the backends that are `listed`."""
    return view_of(fleet(*listed, join=Join.AUTO))


def three_joined() -> FleetView:
    view = open_fleet()
    for number, name in enumerate((C1, C2, C3), 1):
        view = settle(connected(registered(view, asking(name, number)), C1, C2, C3))
    return replace(view, live_agents={})


def states(view: FleetView) -> dict[int, BackendState | None]:
    """The state of who sits in each slot of the current epoch; None for an empty slot."""
    return {slot.number: slot.state if slot.backend else None for slot in current(view).slots}


def decided(view: FleetView, request: Request) -> Plan:
    answer = decide(view, request)
    assert isinstance(answer, Plan), str(answer)
    return answer


def refused(view: FleetView, request: Request) -> Refusal:
    answer = decide(view, request)
    assert isinstance(answer, Refusal)
    return answer


def test_a_pool_that_nobody_has_joined_yet_has_no_epoch_and_no_complaint() -> None:
    decision = Leader().handle(open_fleet(), 0.0, 0.0)
    assert (decision.commands, decision.alarms) == ((), ())


def test_backends_that_register_get_the_lowest_free_slots_in_the_order_in_which_they_came() -> None:
    view = three_joined()
    assert [slot_of(view, name) for name in (C1, C2, C3)] == [0, 1, 2]
    assert view.backends[C2].addresses == (ip_address("10.0.5.2"),)


def test_only_agents_that_ask_come_in_and_only_into_pools_that_are_open() -> None:
    silent = asking("c1", 1, joins=())
    elsewhere = asking("c2", 2, joins=(PoolName("api"),))
    assert not settle(registered(open_fleet(), silent, elsewhere)).backends
    closed = settle(registered(view_of(fleet("b1")), asking("c3", 3)))
    assert set(closed.backends) == {"b1"}


def test_joiners_sit_beside_those_whom_the_operator_lists() -> None:
    view = registered(settle(open_fleet("b1", "b2")), asking(C1, 1, weight=3))
    view = settle(connected(view, C1))
    assert slot_of(view, C1) == 2
    assert current(view).slots[2].weight == 3


def test_a_listed_backend_that_asks_keeps_what_the_operator_wrote() -> None:
    view = settle(registered(open_fleet("b1"), asking("b1", 9, weight=7)))
    assert current(view).slots[0].weight == 1
    assert view.backends[BackendName("b1")].addresses == (ip_address("10.0.0.1"),)


def test_one_that_leaves_is_drained_and_its_slot_is_the_next_newcomers() -> None:
    view = connected(three_joined(), C1, C2, C3)
    view = settle(registered(view, asking(C2, 2, leaving=True)))
    assert states(view) == {0: BackendState.ACTIVE, 1: BackendState.DRAINING, 2: BackendState.ACTIVE}
    view = settle(unregistered(view, C2))
    assert states(view)[1] is None
    view = connected(view, C1, C3)
    view = settle(connected(registered(view, asking(C4, 4)), C1, C3, C4), wall=LATER)
    assert slot_of(view, C4) == 1
    assert states(view) == dict.fromkeys(range(3), BackendState.ACTIVE)


def test_a_listed_backend_that_leaves_is_drained_and_back_when_it_registers_again() -> None:
    agents = AgentMember(BackendName("b1"), (ip_address("10.0.0.1"),), 1)
    view = settle(registered(settle(view_of(fleet("b1", "b2"))), replace(agents, leaving=True)))
    assert states(view) == {0: BackendState.DRAINING, 1: BackendState.ACTIVE}
    view = settle(registered(view, agents))
    assert states(view) == {0: BackendState.ACTIVE, 1: BackendState.ACTIVE}


def test_losing_a_joiners_connection_changes_nothing() -> None:
    view = connected(three_joined(), C1, C2, C3)
    assert current(settle(replace(view, live_agents={}))).number == current(view).number


def test_a_newcomer_at_the_address_of_a_machine_that_is_gone_takes_its_place_over() -> None:
    view = connected(registered(three_joined(), asking(C4, 2)), C1, C3, C4)
    assert list(void_registrations(view)) == [C2]
    view = settle(view)
    assert C2 not in view.agents
    assert slot_of(view, C4) == 1


def test_of_two_at_one_address_the_last_one_counts_until_somebody_is_connected() -> None:
    view = registered(three_joined(), asking(C4, 2))
    wanted = wanted_fleet(view)
    assert wanted is not None
    assert {backend.name for backend in wanted.backends} == {C1, C3, C4}
    assert list(void_registrations(view)) == []


def test_a_leaver_that_ends_before_it_is_through_is_forgotten() -> None:
    view = registered(three_joined(), asking(C2, 2, leaving=True))
    assert list(void_registrations(connected(view, C2))) == []
    assert list(void_registrations(view)) == [C2]


def test_an_address_of_a_vip_or_of_a_listed_backend_is_not_let_in() -> None:
    vip = asking("c1", 1, addresses=(ip_address("192.0.2.10"),))
    listed = asking("c2", 2, addresses=(ip_address("10.0.0.1"),))
    assert set(settle(registered(open_fleet("b1"), vip, listed)).backends) == {"b1"}


def test_who_does_not_take_the_pools_tunnels_is_not_let_in_and_named() -> None:
    view = registered(view_of(fleet(join=Join.AUTO, tunnel=TunnelFamily.IPV6)), asking("c1", 1))
    six = asking("c2", 2, addresses=(ip_address("2001:db8:5::2"),))
    wanted = wanted_fleet(registered(view, six))
    assert wanted is not None
    assert [member.backend for member in wanted.pools[0].members] == [C2]
    what = "backend c1: joins pool web, which tunnels in IPv6, but has no IPv6 address"
    assert what in [f"{one.subject}: {one.what}" for one in assess(view, node("n1", 1), {}, 0.0).problems]


def test_the_address_of_a_node_that_is_gone_is_let_in() -> None:
    gone = NodeMember(NodeName("n9"), (ip_address("10.0.5.1"),), 1)
    view = replace(open_fleet(), nodes={gone.name: gone})
    assert set(settle(registered(view, asking(C1, 1))).backends) == {C1}


def test_a_weight_that_no_table_takes_is_not_let_in() -> None:
    assert not settle(registered(open_fleet(), asking(C1, 1, weight=0))).backends


def test_a_pool_takes_no_more_than_its_table_has_room_for() -> None:
    view = open_fleet()
    desired = replace(fleet(), pools=(pool(table_size=2, join=Join.AUTO),))
    view = registered(replace(view, desired=desired), *(asking(f"c{n}", n) for n in (1, 2, 3)))
    wanted = wanted_fleet(view)
    assert wanted is not None
    assert len(wanted.pools[0].members) == 2


def test_operators_drain_and_undrain_joiners_and_apply_undoes_neither() -> None:
    view = three_joined()
    view = replace(view, intents=decided(view, DrainBackend(C1)).intents or view.intents)
    assert C1 in drained(view, WEB)
    assert view.desired is not None
    again = decided(view, Apply(replace(view.desired, pools=(pool(join=Join.AUTO, health_cap_percent=20),))))
    assert again.intents is None
    assert decided(view, UndrainBackend(C1)).intents is not None


def test_a_joiner_is_weighed_and_replaced_where_it_runs_not_by_verbs() -> None:
    view = three_joined()
    weighed = refused(view, WeighBackend(C1, 5))
    assert "c1 joined pool web by itself" in weighed.reason
    assert "its own settings" in weighed.remedy
    assert "stop this one" in refused(view, ReplaceBackend(C1, C4, (ip_address("10.0.5.4"),))).remedy


def test_a_joiner_that_is_connected_is_not_removed_because_it_would_join_again() -> None:
    view = connected(three_joined(), C1)
    assert "it would join again" in refused(view, RemoveBackend(C1, force=True)).reason
    assert "take the pool out of `join`" in refused(view, RemoveBackend(C1, WEB)).remedy


def test_a_joiner_whose_machine_is_gone_is_removed_by_its_registration() -> None:
    plan = decided(three_joined(), RemoveBackend(C1, force=True))
    assert (plan.removed_agent, plan.desired) == (C1, None)


def test_closing_a_pool_warns_for_whom_it_has() -> None:
    plan = decided(three_joined(), Apply(fleet("b1")))
    assert [warning.split(":")[0] for warning in plan.warnings] == [
        f"backend {name} leaves pool web without a drain" for name in (C1, C2, C3)
    ]


def test_a_plan_counts_joiners_as_they_are() -> None:
    view = three_joined()
    found = forecast(view, replace(fleet("b1"), pools=(pool("b1", join=Join.AUTO),)), 0.0)
    assert not isinstance(found, Refusal)
    assert {share.backend for share in found.pools[0].shares} == {"b1", C1, C2, C3}


def test_a_plan_of_an_open_pool_that_is_empty_says_nothing_of_it() -> None:
    found = forecast(open_fleet(), fleet(join=Join.AUTO), 0.0)
    assert not isinstance(found, Refusal)
    assert found.pools == ()
