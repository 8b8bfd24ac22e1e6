"""The families of tunnels: what a pool's choice asks of everybody, and what changing it does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Unpack

import pytest

from lbnode.app.health import targets
from lbnode.core.control import decide
from lbnode.core.explain import explain
from lbnode.core.forecast import forecast
from lbnode.core.forwarding import Forwarding, tunnel_ends
from lbnode.core.plan import Plan
from lbnode.core.problems import find_problems
from lbnode.core.status import assess
from lbnode.model.codec import decode, encode
from lbnode.model.epoch import Epoch
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.fleet import Backend, DesiredFleet, Protocol
from lbnode.model.forecast import Forecast
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.members import AgentMember, NodeMember
from lbnode.model.requests import AddBackend, Apply, Refusal, RefusalKind, ReplaceBackend, Request
from lbnode.model.tunnel import TunnelFamily, families_of, tunnel_end
from lbnode.model.view import FleetView

from .fleets import VIP, WEB, PoolChanges, ViewChanges, current, fleet, node, settle, view_of

B1, B2, B9 = BackendName("b1"), BackendName("b2"), BackendName("b9")
N1 = NodeName("n1")
FOUR, SIX = ip_address("10.0.1.1"), ip_address("2001:db8:1::1")
V6: PoolChanges = {"tunnel": TunnelFamily.IPV6}


def both(*names: str, health: bool = False, **changes: Unpack[PoolChanges]) -> DesiredFleet:
    """A fleet whose backends have an address of each family."""
    desired = fleet(*(names or ("b1", "b2")), health=health, **changes)
    ends = (
        replace(one, addresses=(*one.addresses, ip_address(f"2001:db8::{number}")))
        for number, one in enumerate(desired.backends, 1)
    )
    return replace(desired, backends=tuple(ends))


def at_rest(desired: DesiredFleet, **changes: Unpack[ViewChanges]) -> FleetView:
    """A settled fleet of one node with tunnel addresses of both families."""
    view = replace(settle(view_of(desired)), nodes={N1: NodeMember(N1, (FOUR, SIX), 1)})
    return replace(view, **changes)


def refused(view: FleetView, request: Request) -> str:
    decision = decide(view, request)
    assert isinstance(decision, Refusal), decision
    assert decision.kind in (RefusalKind.STATE, RefusalKind.INVALID)
    return str(decision)


def test_changing_the_family_is_an_epoch_in_which_nothing_else_changes() -> None:
    before = at_rest(both())
    after = settle(replace(before, desired=both(**V6)))
    assert (current(before).tunnel, current(after).tunnel) == (TunnelFamily.IPV4, TunnelFamily.IPV6)
    assert current(after).number == current(before).number + 1
    assert (current(after).slots, current(after).digest) == (current(before).slots, current(before).digest)


def test_an_epoch_written_before_there_was_a_choice_has_ipv4_tunnels() -> None:
    text = encode(current(at_rest(both(**V6))))
    assert decode(Epoch, text.replace(b',"tunnel":"ipv6"', b"")).tunnel is TunnelFamily.IPV4
    assert decode(Epoch, text).tunnel is TunnelFamily.IPV6


def test_a_node_loads_the_table_anew_when_the_family_changes() -> None:
    view, forwarding = at_rest(both()), Forwarding()
    forwarding.handle(view, False, {})
    changed = forwarding.handle(settle(replace(view, desired=both(**V6))), False, {})
    assert [type(command).__name__ for command in changed] == ["StageTable", "SwitchTable"]


def test_a_node_without_an_address_of_the_family_keeps_the_table_out_and_says_why() -> None:
    forwarding = Forwarding(families_of([FOUR]))
    assert forwarding.handle(at_rest(both(**V6)), False, {}) == []
    problem = forwarding.loaded()[WEB].problem
    assert problem == (
        "epoch 1 has IPv6 tunnels, and this node has no IPv6 address: add one to its settings (address: [IPV4, IPV6])"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"nodes": {N1: NodeMember(N1, (FOUR,), 1)}},
            "pool web: tunnel ipv6, but node n1 has no IPv6 address; add one to its settings",
        ),
        (
            {"agents": {B2: AgentMember(B2, (FOUR,), 1)}},
            "pool web: tunnel ipv6, but the agent of backend b2 has no IPv6 address; add one",
        ),
    ],
)
def test_a_family_that_somebody_lacks_is_refused_unless_forced(changes: ViewChanges, words: str) -> None:
    view = at_rest(both(), **changes)
    assert words in refused(view, Apply(both(**V6)))
    assert isinstance(decide(view, Apply(both(**V6), force=True)), Plan)


def test_nobody_is_refused_for_a_pool_whose_family_stays() -> None:
    view = at_rest(both(**V6), nodes={N1: NodeMember(N1, (FOUR,), 1)})
    assert isinstance(decide(view, Apply(both(health=True, **V6))), Plan)


def test_a_leaver_that_may_still_hold_flows_must_be_reachable_too() -> None:
    view = at_rest(fleet("b1", "b2", "b3"))
    view = settle(replace(view, desired=both("b1", "b2")))
    assert "backend b3, which left but may hold flows, has no IPv6" in refused(view, Apply(both(**V6)))


def test_a_smaller_packet_is_announced_before_and_only_then() -> None:
    for old, new, count in ((both(), both(**V6), 1), (both(**V6), both(), 0), (both(), both(), 0)):
        plan = decide(at_rest(old), Apply(new))
        assert isinstance(plan, Plan)
        assert len([line for line in plan.warnings if "20 bytes less" in line]) == count


@pytest.mark.parametrize(
    "request_", [AddBackend(B9, WEB, (FOUR,)), ReplaceBackend(B1, B9, (ip_address("10.0.0.9"),))]
)
def test_a_backend_joins_only_with_an_address_of_the_pools_family(request_: Request) -> None:
    view = at_rest(both(**V6), nodes={})
    words = refused(view, request_)
    assert "b9 has no IPv6 address, and pool web tunnels in IPv6; give it one, too" in words


def test_two_addresses_of_one_family_are_refused() -> None:
    request = AddBackend(B9, WEB, (ip_address("10.0.0.8"), ip_address("10.0.0.9")))
    assert "10.0.0.8 and 10.0.0.9 are both IPv4; give at most one address of each family" in refused(
        at_rest(both()), request
    )


def test_nodes_know_the_way_to_the_families_in_use_and_to_no_other() -> None:
    four, six = ip_address("10.0.0.1"), ip_address("2001:db8::1")
    assert set(tunnel_ends(at_rest(both("b1")))) == {four}
    assert set(tunnel_ends(at_rest(both("b1", **V6)))) == {six}
    changing = replace(at_rest(both("b1")), desired=both("b1", **V6))
    assert set(tunnel_ends(changing)) == {four, six}


def test_backends_are_probed_where_the_pools_packets_go() -> None:
    found = targets(view_of(both("b1", health=True, **V6)))
    assert found[WEB, B1].address == ip_address("2001:db8::1")


def test_status_and_explain_show_where_the_packets_go() -> None:
    view = at_rest(both("b1", **V6))
    (pool,) = assess(view, node("n1", 1), {}, 0.0).pools
    assert (pool.tunnel, pool.slots[0].address) == (TunnelFamily.IPV6, ip_address("2001:db8::1"))
    question = FlowQuestion(ip_address("198.51.100.7"), 40000, VIP, 80, Protocol.TCP)
    found = explain(view, {WEB: current(view)}, question)
    assert isinstance(found, Explanation)
    assert found.owner is not None
    assert found.owner.address == ip_address("2001:db8::1")


def test_an_agent_elsewhere_than_the_packets_go_is_an_alarm() -> None:
    view = at_rest(both("b1"), agents={B1: AgentMember(B1, (ip_address("10.0.0.7"),), 1)})
    status = assess(view, node("n1", 1), {}, 0.0)
    assert "packets go to 10.0.0.1, where its agent takes none: it is at 10.0.0.7" in [
        problem.what for problem in find_problems(view, status)
    ]


@pytest.mark.parametrize(
    ("new", "broken"),
    [(("10.0.0.1", "2001:db8::99"), 0), (("10.0.0.99", "2001:db8::1"), 1), (("10.0.0.1",), 0)],
    ids=["the family that is not used", "the family that is used", "one family less"],
)
def test_only_an_address_that_packets_go_to_breaks_flows_by_changing(
    new: tuple[str, ...], broken: int
) -> None:
    desired = both("b1")
    moved = replace(desired, backends=(Backend(B1, tuple(ip_address(one) for one in new)),))
    found = forecast(at_rest(desired), moved, 0.0)
    assert isinstance(found, Forecast)
    assert len(found.pools[0].broken) == broken


def test_a_machine_has_at_most_one_end_for_tunnels_of_a_family() -> None:
    assert tunnel_end((FOUR,), TunnelFamily.IPV6) is None
    assert [tunnel_end((FOUR, SIX), family) for family in TunnelFamily] == [FOUR, SIX]


def test_a_pool_of_another_name_is_looked_at_for_itself() -> None:
    desired = both("b1")
    api = replace(desired.pools[0], name=PoolName("api"), tunnel=TunnelFamily.IPV6)
    view = at_rest(desired, nodes={N1: NodeMember(N1, (FOUR,), 1)})
    assert "pool api: tunnel ipv6" in refused(view, Apply(replace(desired, pools=(*desired.pools, api))))
