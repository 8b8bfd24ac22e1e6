from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from lbnode.core.announce import AGENTS_S, SHUTDOWN_S, Announcement, decide
from lbnode.core.forwarding import Forwarding
from lbnode.model.fleet import Protocol, Vip
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.view import FleetView
from lbnode.model.vip import ANY_PORT, VipAddress

from .fleets import VIP, agent, drain, fleet, settle, view_of

N1 = NodeName("n1")


def announced(
    view: FleetView,
    before: tuple[VipAddress, ...] = (),
    waited_s: float = 0.0,
    draining_s: float | None = None,
    obstacle: str = "",
) -> Announcement:
    forwarding = Forwarding()
    forwarding.handle(view, False, {})
    return decide(view, forwarding.pools, N1, before, waited_s, draining_s, obstacle)


def test_an_address_whose_tables_are_in_use_and_that_can_serve_is_announced() -> None:
    assert announced(settle(view_of(fleet("b1")))).addresses == (VIP,)


def test_an_address_without_a_table_is_not_announced_and_says_why() -> None:
    result = announced(view_of(fleet("b1")))
    assert result.addresses == ()
    assert "no table" in result.withheld[VIP]


def test_an_address_waits_for_all_its_tables() -> None:
    view = settle(view_of(fleet("b1")))
    assert view.desired is not None
    other = Vip(VIP, Protocol.TCP, 443, PoolName("tls"))
    view = replace(view, desired=replace(view.desired, vips=(*view.desired.vips, other)))
    assert "tls" in announced(view).withheld[VIP]


def test_an_address_whose_pools_have_nobody_left_is_withdrawn() -> None:
    result = announced(settle(drain(view_of(fleet("b1")), "b1")), before=(VIP,))
    assert result.addresses == ()
    assert "no active backend" in result.withheld[VIP]


def test_a_new_address_waits_for_connected_agents_and_not_for_ever() -> None:
    view = replace(settle(view_of(fleet("b1"))), live_agents={BackendName("b1"): agent("b1", 1)})
    assert "b1" in announced(view).withheld[VIP]
    assert announced(view, waited_s=AGENTS_S).addresses == (VIP,)
    knows = replace(view, live_agents={BackendName("b1"): agent("b1", 1, "n1")})
    assert announced(knows).addresses == (VIP,)


def test_what_is_announced_already_does_not_flap_when_an_agent_joins() -> None:
    view = replace(settle(view_of(fleet("b1"))), live_agents={BackendName("b1"): agent("b1", 1)})
    assert announced(view, before=(VIP,)).addresses == (VIP,)


def test_a_draining_node_asks_for_graceful_shutdown_and_then_withdraws() -> None:
    view = settle(view_of(fleet("b1")))
    first = announced(view, before=(VIP,), draining_s=0.0)
    assert (first.addresses, first.graceful_shutdown) == ((VIP,), True)
    assert announced(view, before=(VIP,), draining_s=SHUTDOWN_S).addresses == ()


def test_a_node_that_starts_drained_announces_nothing() -> None:
    assert announced(settle(view_of(fleet("b1"))), draining_s=0.0).addresses == ()


def test_a_node_that_packets_cannot_reach_withdraws_everything_and_says_why() -> None:
    result = announced(settle(view_of(fleet("b1"))), before=(VIP,), obstacle="its interface eth0 is down")
    assert result.addresses == ()
    assert result.withheld == {VIP: "its interface eth0 is down"}


def test_a_draining_node_that_packets_cannot_reach_does_not_wait_for_graceful_shutdown() -> None:
    view = settle(view_of(fleet("b1")))
    assert (
        announced(view, before=(VIP,), draining_s=0.0, obstacle="its interface eth0 is gone").addresses == ()
    )


def test_what_packets_cannot_reach_and_nobody_serves_keeps_the_reason_that_stays() -> None:
    result = announced(settle(drain(view_of(fleet("b1")), "b1")), obstacle="its interface eth0 is down")
    assert "no active backend" in result.withheld[VIP]


def test_a_prefix_is_announced_as_it_is_and_apart_from_its_addresses() -> None:
    view = settle(view_of(fleet("b1")))
    assert view.desired is not None
    prefix = ip_network("192.0.2.0/28")
    whole = replace(view.desired.vips[0], address=prefix, port=ANY_PORT)
    waiting = Vip(prefix[3], Protocol.TCP, 443, PoolName("tls"))
    view = replace(view, desired=replace(view.desired, vips=(*view.desired.vips, whole, waiting)))
    result = announced(view)
    assert result.addresses == (prefix, VIP)
    assert list(result.withheld) == [prefix[3]]
