from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lbnode.core.control import decide
from lbnode.core.plan import Plan
from lbnode.model.fleet import HealthCheck, Intents
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import RefusalKind, ReplaceBackend
from lbnode.model.view import FleetView

from .fleets import WEB, agent, current, drain, fleet, pool, settle, slot_of, view_of
from .test_control import (
    API,
    B1,
    B2,
    B3,
    B4,
    counted,
    fleet_view,
    grant,
    lines,
    refuse,
    two_pools,
    with_agents,
)

B9 = BackendName("b9")
ADDRESS = (ip_address("10.0.0.9"),)
OTHER = (ip_address("10.0.0.8"),)


def replacing(view: FleetView, name: BackendName = B2, by: BackendName = B9) -> FleetView:
    """The view after a replacement was written, with the newcomer's agent, when the leader has done what it can."""
    plan = grant(view, ReplaceBackend(name, by, ADDRESS))
    return settle(
        replace(
            view,
            desired=plan.desired or view.desired,
            intents=plan.intents or view.intents,
            live_nodes={},
            live_agents={**view.live_agents, by: agent(by, 0)},
        )
    )


def test_the_newcomer_is_given_the_slot_by_number_and_the_leaver_leaves() -> None:
    view = fleet_view()
    plan = grant(view, ReplaceBackend(B2, B9, ADDRESS))
    assert plan.desired is not None
    assert [(m.backend, m.slot) for m in plan.desired.pools[0].members] == [(B1, None), (B9, 1), (B3, None)]
    assert [backend.name for backend in plan.desired.backends] == [B1, B3, B9]
    assert lines(plan) == ["+ backend b9: 10.0.0.9", "~ pool web, slot 1: b2 → b9", "- backend b2"]


def test_then_exactly_the_leavers_buckets_move() -> None:
    view = fleet_view()
    seat = slot_of(view, "b2")
    after = replacing(view)
    assert slot_of(after, "b9") == seat
    kept = [slot for slot in current(view).slots if slot.number != seat]
    assert [slot for slot in current(after).slots if slot.number != seat] == kept


def test_the_weight_goes_with_the_slot() -> None:
    desired = fleet("b1", "b2")
    members = (desired.pools[0].members[0], replace(desired.pools[0].members[1], weight=7))
    view = settle(view_of(replace(desired, pools=(replace(desired.pools[0], members=members),))))
    plan = grant(view, ReplaceBackend(B2, B9, ADDRESS))
    assert plan.desired is not None
    assert plan.desired.pools[0].members[1].weight == 7


def test_in_one_pool_the_leaver_stays_in_the_other_and_in_the_fleet() -> None:
    plan = grant(two_pools(), ReplaceBackend(B2, B1, pool=API))
    assert plan.desired is not None
    assert lines(plan) == ["~ pool api, slot 0: b2 → b1"]
    assert B2 in {backend.name for backend in plan.desired.backends}


def test_drains_of_either_are_forgotten() -> None:
    view = replace(fleet_view(), intents=Intents(drained_backends={WEB: (B2, B3)}))
    assert grant(view, ReplaceBackend(B2, B9, ADDRESS)).intents == Intents(drained_backends={WEB: (B3,)})


def test_a_slot_whose_leaver_still_holds_flows_is_being_replaced() -> None:
    view = replacing(with_agents(fleet_view(live_nodes={})))
    again = ReplaceBackend(B9, B4, OTHER)
    refuse(view, again, RefusalKind.STATE, "slot 1 of pool web is being replaced already: b2 left it and may")
    view = counted(view, b2=12)
    refuse(view, again, RefusalKind.STATE, "b2 left it and still holds 12 flows", "lbctl status", "--force")
    assert grant(view, replace(again, force=True)).desired is not None


def test_a_slot_whose_newcomer_is_not_up_yet_is_being_replaced() -> None:
    desired = fleet("b1", "b2", "b3")
    desired = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(80)),))
    up = {WEB: dict.fromkeys((B1, B2, B3), True)}
    view = fleet_view()
    nodes = {name: replace(node, verdicts=up) for name, node in view.live_nodes.items()}
    view = replace(view, desired=desired, live_nodes=nodes)
    plan = grant(view, ReplaceBackend(B2, B9, ADDRESS))
    view = settle(replace(view, desired=plan.desired))
    again = ReplaceBackend(B9, B4, OTHER)
    refuse(
        view, again, RefusalKind.STATE, "slot 1 of pool web is being replaced already: b2 serves there until"
    )
    forced = grant(view, replace(again, force=True))
    assert forced.desired is not None
    assert [(m.backend, m.slot) for m in forced.desired.pools[0].members][1] == (B4, 1)


def test_a_backend_that_has_no_slot_yet_cannot_be_replaced() -> None:
    view = replace(fleet_view(), desired=fleet("b1", "b2", "b3", "b4"))
    refuse(view, ReplaceBackend(B4, B9, ADDRESS), RefusalKind.STATE, "b4 has no slot in pool web yet")


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (ReplaceBackend(BackendName("b33"), B9, ADDRESS), RefusalKind.UNKNOWN, "did you mean 'b3'?"),
        (ReplaceBackend(B2, B9, ADDRESS, PoolName("wep")), RefusalKind.UNKNOWN, "did you mean 'web'?"),
        (ReplaceBackend(B1, B9, ADDRESS, API), RefusalKind.STATE, "b1 is not in pool api"),
        (ReplaceBackend(B2, B2), RefusalKind.INVALID, "b2 cannot replace itself"),
        (ReplaceBackend(B2, B3), RefusalKind.STATE, "b3 is in pool web already, with a slot of its own"),
        (ReplaceBackend(B2, B9), RefusalKind.INVALID, "b9 is new to the fleet; give its address"),
        (ReplaceBackend(B2, B9, (ip_address("10.0.0.1"),)), RefusalKind.INVALID, "is that of backend b1"),
        (ReplaceBackend(B2, B9, (ip_address("127.0.0.1"),)), RefusalKind.INVALID, "is a loopback address"),
        (ReplaceBackend(B2, BackendName("b/9"), ADDRESS), RefusalKind.INVALID, "name b/9 is no name"),
    ],
)
def test_a_bad_replacement_is_refused(request_: ReplaceBackend, kind: RefusalKind, words: str) -> None:
    refuse(two_pools(), request_, kind, words)


def test_draining_the_leaver_first_is_no_objection() -> None:
    view = settle(drain(fleet_view(live_nodes={}), "b2"))
    decision = decide(view, ReplaceBackend(B2, B9, ADDRESS))
    assert isinstance(decision, Plan)


def test_the_last_backend_of_a_pool_can_be_replaced() -> None:
    desired = replace(fleet("b1"), pools=(pool("b1"),))
    replaced = grant(settle(view_of(desired)), ReplaceBackend(B1, B9, ADDRESS)).desired
    assert replaced is not None
    assert [member.backend for member in replaced.pools[0].members] == [B9]
