from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from lbnode.core.drain import closed_since, flows_left, is_in_effect, is_over
from lbnode.model.ids import BackendName, EpochNumber, NodeName
from lbnode.model.members import AgentLive, AgentMember, LoadedEpoch, NodeLive
from lbnode.model.view import FleetView

from .fleets import VIP, WEB, current, drain, fleet, node, settle, view_of

B1, B2 = BackendName("b1"), BackendName("b2")


def draining() -> FleetView:
    """b2 drains in epoch 2; both backends have the agent, and nobody is connected."""
    view = view_of(fleet("b1", "b2"))
    agents = {name: AgentMember(name, (ip_address("10.9.9.9"),), 1) for name in (B1, B2)}
    return settle(drain(settle(replace(view, agents=agents)), "b2"))


def counting(view: FleetView, number: int, flows: int | None) -> FleetView:
    """b2's agent has loaded epoch `number` and counts."""
    counts = {} if flows is None else {WEB: flows}
    agent = AgentLive(B2, "0", {WEB: EpochNumber(number)}, flows=counts)
    return replace(view, live_agents={B2: agent})


def announcing(view: FleetView, *numbers: int) -> FleetView:
    """Nodes that announce and use these epochs."""
    nodes: dict[NodeName, NodeLive] = {}
    for index, number in enumerate(numbers):
        loaded = LoadedEpoch(None, EpochNumber(number), "")
        name = NodeName(f"n{index}")
        nodes[name] = replace(node(name), pools={WEB: loaded}, announced=(VIP,))
    return replace(view, live_nodes=nodes)


def test_a_drain_is_over_when_all_nodes_know_of_it_and_the_agent_counts_none() -> None:
    view = announcing(counting(draining(), 2, 0), 2, 2)
    assert is_over(view, WEB, B2)
    assert not is_over(announcing(view, 2, 1), WEB, B2)
    assert not is_over(counting(view, 2, 3), WEB, B2)


def test_nodes_that_announce_nothing_are_not_waited_for() -> None:
    view = counting(draining(), 2, 0)
    view = replace(view, live_nodes={NodeName("n1"): node("n1", 1)})
    assert is_over(view, WEB, B2)


def test_a_count_from_before_the_drain_says_nothing() -> None:
    assert flows_left(counting(draining(), 1, 0), WEB, B2) is None
    assert flows_left(counting(draining(), 2, 0), WEB, B2) == 0


def test_an_agent_that_has_not_counted_yet_or_is_silent_says_nothing() -> None:
    assert flows_left(counting(draining(), 2, None), WEB, B2) is None
    assert flows_left(draining(), WEB, B2) is None
    assert not is_over(announcing(draining(), 2), WEB, B2)


def test_without_agent_nobody_counts() -> None:
    view = counting(settle(drain(settle(view_of(fleet("b1", "b2"))), "b2")), 2, 0)
    assert flows_left(view, WEB, B2) is None


def test_an_active_backend_is_not_drained() -> None:
    view = draining()
    assert closed_since(view, WEB, view.backends[B1].id) is None
    assert not is_in_effect(view, WEB, view.backends[B1].id)


def test_later_epochs_do_not_begin_the_drain_anew() -> None:
    view = draining()
    desired = fleet("b1", "b2")
    first, second = desired.pools[0].members
    members = (replace(first, weight=9), second)
    view = settle(
        replace(view, desired=replace(desired, pools=(replace(desired.pools[0], members=members),)))
    )
    assert current(view).number == 3
    assert closed_since(view, WEB, view.backends[B2].id) == 2
    assert is_in_effect(announcing(view, 2, 3), WEB, view.backends[B2].id)
