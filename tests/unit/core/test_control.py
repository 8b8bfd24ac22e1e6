from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Unpack

import pytest

from lbnode.core.control import decide
from lbnode.core.plan import Plan
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.members import AgentLive, AgentMember, NodeMember
from lbnode.model.requests import (
    AddBackend,
    Apply,
    DrainBackend,
    DrainNode,
    Refusal,
    RefusalKind,
    RemoveBackend,
    RemoveNode,
    ReplaceBackend,
    Request,
    UndrainBackend,
    UndrainNode,
    WeighBackend,
)
from lbnode.model.view import FleetView

from .fleets import WEB, ViewChanges, current, drain, fleet, node, pool, settle, view_of

API = PoolName("api")
B1, B2, B3, B4 = (BackendName(f"b{number}") for number in range(1, 5))
N1, N2 = NodeName("n1"), NodeName("n2")


def fleet_view(*names: str, **changes: Unpack[ViewChanges]) -> FleetView:
    """A fleet at rest with the nodes n1 and n2, both connected."""
    view = settle(view_of(fleet(*(names or ("b1", "b2", "b3")))))
    live = {name: node(name) for name in (N1, N2)}
    nodes = {name: NodeMember(name, (ip_address(f"10.0.1.{i}"),), 1) for i, name in enumerate((N1, N2), 1)}
    view = replace(view, live_nodes=live, nodes=nodes, desired_version=5, intents_version=3)
    return replace(view, **changes)


def two_pools() -> FleetView:
    desired = fleet("b1", "b2", "b3")
    desired = replace(desired, pools=(*desired.pools, replace(pool("b2", "b3"), name=API)))
    return replace(settle(view_of(desired)), desired_version=5, intents_version=3)


def with_agents(view: FleetView) -> FleetView:
    """Every backend has the agent."""
    agents = {name: AgentMember(name, (ip_address("10.9.9.9"),), 1) for name in view.backends}
    return settle(replace(view, agents=agents))


def counted(view: FleetView, **flows: int) -> FleetView:
    """Agents are connected, have loaded the current epoch and count flows."""
    live = {
        BackendName(name): AgentLive(
            BackendName(name), "0", {WEB: current(view).number}, flows={WEB: flows[name]}
        )
        for name in flows
    }
    return replace(view, live_agents=live)


def grant(view: FleetView, request: Request) -> Plan:
    decision = decide(view, request)
    assert isinstance(decision, Plan), decision
    return decision


def refuse(view: FleetView, request: Request, kind: RefusalKind, *words: str) -> Refusal:
    decision = decide(view, request)
    assert isinstance(decision, Refusal)
    assert decision.kind is kind
    for word in words:
        assert word in str(decision)
    return decision


def lines(plan: Plan) -> list[str]:
    return [str(one) for one in plan.differences]


def drained(plan: Plan) -> dict[PoolName, tuple[BackendName, ...]]:
    assert plan.intents is not None
    return plan.intents.drained_backends


ALL: list[Request] = [
    Apply(fleet("b1")),
    DrainNode(N1),
    UndrainNode(N1),
    RemoveNode(N1),
    AddBackend(B4, WEB, (ip_address("10.0.0.4"),)),
    DrainBackend(B1),
    UndrainBackend(B1),
    RemoveBackend(B1),
    WeighBackend(B1, 3),
    ReplaceBackend(B1, B4, (ip_address("10.0.0.4"),)),
]


@pytest.mark.parametrize("request_", ALL, ids=lambda request: type(request).__name__)
def test_without_the_store_nothing_can_be_changed(request_: Request) -> None:
    refuse(fleet_view(connected=False), request_, RefusalKind.UNAVAILABLE, "store", "forwarding goes on")


@pytest.mark.parametrize("request_", ALL[4:], ids=lambda request: type(request).__name__)
def test_verbs_on_backends_need_a_fleet_that_was_applied(request_: Request) -> None:
    view = replace(fleet_view(), desired=None)
    refuse(view, request_, RefusalKind.STATE, "nothing has been applied", "lbctl apply")


class TestApply:
    def test_the_new_fleet_is_written_over_the_version_that_was_seen(self) -> None:
        new = fleet("b1", "b2")
        plan = grant(fleet_view(), Apply(new))
        assert (plan.desired, plan.desired_version, plan.intents) == (new, 5, None)
        assert lines(plan) == ["- backend b3", "- pool web, backend b3"]

    def test_the_first_apply_needs_no_fleet_before_it(self) -> None:
        view = FleetView(connected=True)
        assert grant(view, Apply(fleet("b1"))).desired_version == -1

    def test_applying_the_same_fleet_writes_nothing(self) -> None:
        view = fleet_view()
        assert view.desired is not None
        plan = grant(view, Apply(view.desired))
        assert (plan.desired, plan.intents, plan.differences) == (None, None, ())

    def test_a_drain_survives_an_apply(self) -> None:
        view = drain(fleet_view(), "b2")
        assert grant(view, Apply(fleet("b1", "b2"))).intents is None

    def test_the_drain_of_a_backend_that_leaves_is_forgotten(self) -> None:
        view = drain(fleet_view(), "b2", "b3")
        assert drained(grant(view, Apply(fleet("b1", "b2")))) == {WEB: (B2,)}

    def test_a_file_for_another_fleet_is_refused(self) -> None:
        other = replace(fleet("b1"), name="production")
        refuse(fleet_view(), Apply(other), RefusalKind.INVALID, "'demo'", "'production'", "--node")

    def test_a_difference_that_is_out_of_date_is_not_applied(self) -> None:
        refuse(fleet_view(), Apply(fleet("b1"), based_on=4), RefusalKind.CONFLICT, "somebody else")
        assert grant(fleet_view(), Apply(fleet("b1"), based_on=5)).desired is not None

    def test_what_is_fixed_for_a_pools_life_is_refused(self) -> None:
        new = fleet("b1", table_size=509)
        refuse(fleet_view(), Apply(new), RefusalKind.INVALID, "table_size 251 → 509", "new pool")

    def test_a_vip_on_a_nodes_tunnel_address_is_refused(self) -> None:
        new = fleet("b1", "b2", "b3")
        vip = replace(new.vips[0], address=ip_address("10.0.1.2"))
        refuse(
            fleet_view(), Apply(replace(new, vips=(vip,))), RefusalKind.INVALID, "tunnel address of node n2"
        )

    def test_leaving_without_a_drain_is_warned_of(self) -> None:
        (warning,) = grant(fleet_view(), Apply(fleet("b1", "b2"))).warnings
        assert "b3 leaves pool web without a drain" in warning
        assert "lbctl backend drain b3 --pool web" in warning

    def test_a_drained_backend_leaves_without_a_warning(self) -> None:
        assert grant(drain(fleet_view(), "b3"), Apply(fleet("b1", "b2"))).warnings == ()

    def test_the_end_of_a_vip_and_its_change_of_pool_are_warned_of(self) -> None:
        view = two_pools()
        assert view.desired is not None
        ended = grant(view, Apply(replace(view.desired, vips=())))
        assert "192.0.2.10:80/tcp ends" in ended.warnings[0]
        moved = replace(view.desired, vips=(replace(view.desired.vips[0], pool=API),))
        assert "moves to pool api" in grant(view, Apply(moved)).warnings[0]


class TestNodes:
    def test_a_drained_node_is_an_intent(self) -> None:
        plan = grant(fleet_view(), DrainNode(N1))
        assert plan.intents == Intents(drained_nodes=(N1,))
        assert (plan.intents_version, plan.desired) == (3, None)
        assert lines(plan) == ["~ node n1: serving → drained"]

    def test_draining_twice_changes_nothing(self) -> None:
        view = fleet_view(intents=Intents(drained_nodes=(N1,)))
        plan = grant(view, DrainNode(N1))
        assert (plan.intents, plan.differences) == (None, ())

    def test_the_last_serving_node_is_only_drained_by_force(self) -> None:
        view = fleet_view(intents=Intents(drained_nodes=(N1,)))
        refuse(view, DrainNode(N2), RefusalKind.STATE, "last connected node", "--force")
        plan = grant(view, DrainNode(N2, force=True))
        assert plan.intents == Intents(drained_nodes=(N1, N2))

    def test_undrain_puts_only_that_node_back(self) -> None:
        view = fleet_view(intents=Intents(drained_nodes=(N1, N2)))
        assert grant(view, UndrainNode(N1)).intents == Intents(drained_nodes=(N2,))
        assert grant(fleet_view(), UndrainNode(N1)).intents is None

    def test_a_connected_node_is_only_removed_by_force(self) -> None:
        refuse(fleet_view(), RemoveNode(N1), RefusalKind.STATE, "connected", "lbctl node drain n1")
        assert grant(fleet_view(), RemoveNode(N1, force=True)).removed_node == N1

    def test_removing_a_node_that_is_gone_forgets_its_drain_too(self) -> None:
        view = fleet_view(live_nodes={}, intents=Intents(drained_nodes=(N1,)))
        plan = grant(view, RemoveNode(N1))
        assert (plan.removed_node, plan.intents) == (N1, Intents())
        assert lines(plan) == ["- node n1"]

    @pytest.mark.parametrize("verb", [DrainNode, UndrainNode, RemoveNode])
    def test_an_unknown_node_is_named_with_the_closest_one(self, verb: type[DrainNode]) -> None:
        refuse(fleet_view(), verb(NodeName("n11")), RefusalKind.UNKNOWN, "'n11'", "did you mean")


class TestAddBackend:
    def test_a_new_backend_joins_the_fleet_and_the_pool(self) -> None:
        plan = grant(fleet_view(), AddBackend(B4, WEB, (ip_address("10.0.0.4"),), weight=2))
        assert plan.desired is not None
        assert plan.desired.backends[-1].name == B4
        assert [(m.backend, m.weight) for m in plan.desired.pools[0].members][-1] == (B4, 2)
        assert lines(plan) == ["+ backend b4: 10.0.0.4", "+ pool web, backend b4: weight 2"]

    def test_a_known_backend_joins_another_pool_without_its_address(self) -> None:
        plan = grant(two_pools(), AddBackend(B1, API))
        assert lines(plan) == ["+ pool api, backend b1: weight 1"]

    @pytest.mark.parametrize(
        ("request_", "kind", "words"),
        [
            (AddBackend(B4, PoolName("wep"), (ip_address("10.0.0.4"),)), RefusalKind.UNKNOWN, "did you mean 'web'?"),
            (AddBackend(B1, WEB), RefusalKind.STATE, "is in pool web already"),
            (AddBackend(B4, WEB), RefusalKind.INVALID, "new to the fleet; give its address"),
            (AddBackend(B4, WEB, (ip_address("10.0.0.1"),)), RefusalKind.INVALID, "is that of backend b1"),
            (AddBackend(B4, WEB, (ip_address("192.0.2.10"),)), RefusalKind.INVALID, "that of VIP 192.0.2.10:80/tcp"),
            (AddBackend(B4, WEB, (ip_address("127.0.0.1"),)), RefusalKind.INVALID, "is a loopback address; use"),
            (AddBackend(B4, WEB, (ip_address("10.0.0.4"),), 0), RefusalKind.INVALID, "weight 0 is out of range"),
            (AddBackend(B4, WEB, (ip_address("10.0.0.4"),), 65536), RefusalKind.INVALID, "use 1..65535"),
            (AddBackend(BackendName("b/4"), WEB, (ip_address("10.0.0.4"),)), RefusalKind.INVALID, "is no name"),
        ],
    )  # fmt: skip
    def test_a_bad_addition_is_refused(self, request_: AddBackend, kind: RefusalKind, words: str) -> None:
        refuse(fleet_view(), request_, kind, words)

    def test_a_backend_without_agent_is_said_to_be_one_and_what_that_costs(self) -> None:
        plan = grant(fleet_view(), AddBackend(B4, WEB, (ip_address("10.0.0.4"),), agent=False))
        assert plan.desired is not None
        assert not plan.desired.backends[-1].agent
        assert lines(plan)[0] == "+ backend b4: 10.0.0.4, without agent"
        assert plan.warnings == (
            "b4 has no agent and pool web no flow table: flows whose buckets b4 takes over break",
        )

    def test_with_a_flow_table_it_costs_nothing(self) -> None:
        view = fleet_view()
        assert view.desired is not None
        pools = tuple(replace(pool, flow_table=True) for pool in view.desired.pools)
        view = replace(view, desired=replace(view.desired, pools=pools))
        assert grant(view, AddBackend(B4, WEB, (ip_address("10.0.0.4"),), agent=False)).warnings == ()

    def test_a_known_backend_keeps_its_agent(self) -> None:
        view = two_pools()
        assert view.desired is not None
        backends = tuple(replace(backend, agent=True) for backend in view.desired.backends)
        view = replace(view, desired=replace(view.desired, backends=backends))
        words = "known as a backend with the agent; to say otherwise"
        refuse(view, AddBackend(B1, API, agent=False), RefusalKind.STATE, words)

    def test_a_known_backend_has_one_address(self) -> None:
        request = AddBackend(B1, API, (ip_address("10.0.0.9"),))
        refuse(two_pools(), request, RefusalKind.INVALID, "b1 is at 10.0.0.1, not at 10.0.0.9")


class TestDrainBackend:
    def test_it_drains_in_all_pools_that_have_it(self) -> None:
        assert drained(grant(two_pools(), DrainBackend(B2))) == {WEB: (B2,), API: (B2,)}

    def test_or_in_one(self) -> None:
        plan = grant(two_pools(), DrainBackend(B2, API))
        assert drained(plan) == {API: (B2,)}
        assert lines(plan) == ["~ pool api, backend b2: active → draining"]

    def test_the_last_active_backend_is_only_drained_by_force(self) -> None:
        view = drain(fleet_view("b1", "b2"), "b1")
        refuse(view, DrainBackend(B2), RefusalKind.STATE, "last active backend of pool web", "--force")
        assert drained(grant(view, DrainBackend(B2, force=True))) == {WEB: (B1, B2)}

    def test_failed_backends_do_not_count_as_active(self) -> None:
        view = fleet_view("b1", "b2")
        epoch = current(view)
        b1 = view.backends[B1].id
        slots = tuple(
            replace(slot, state=BackendState.FAILED) if slot.backend == b1 else slot for slot in epoch.slots
        )
        view = replace(view, epochs={WEB: {epoch.number: replace(epoch, slots=slots)}})
        refuse(view, DrainBackend(B2), RefusalKind.STATE, "last active")
        assert drained(grant(view, DrainBackend(B1))) == {WEB: (B1,)}

    def test_draining_twice_changes_nothing(self) -> None:
        plan = grant(drain(fleet_view(), "b1"), DrainBackend(B1))
        assert (plan.intents, plan.differences) == (None, ())

    def test_undrain_takes_back_exactly_that_drain(self) -> None:
        view = drain(fleet_view(), "b1", "b2")
        assert drained(grant(view, UndrainBackend(B1))) == {WEB: (B2,)}
        assert grant(fleet_view(), UndrainBackend(B1)).intents is None

    @pytest.mark.parametrize("verb", [DrainBackend, UndrainBackend, RemoveBackend])
    def test_unknown_names_are_named_with_the_closest_ones(self, verb: type[DrainBackend]) -> None:
        refuse(fleet_view(), verb(BackendName("b33")), RefusalKind.UNKNOWN, "did you mean 'b3'?")
        refuse(fleet_view(), verb(B1, PoolName("wbe")), RefusalKind.UNKNOWN, "did you mean 'web'?")
        refuse(two_pools(), verb(B1, API), RefusalKind.STATE, "b1 is not in pool api; it is in: web")

    def test_a_backend_without_a_pool_cannot_be_drained(self) -> None:
        desired = replace(fleet("b1", "b2"), pools=(pool("b1"),))
        view = replace(fleet_view(), desired=desired)
        refuse(view, DrainBackend(B2), RefusalKind.STATE, "b2 is in no pool", "backend add b2")
        assert grant(view, RemoveBackend(B2)).desired == replace(fleet("b1"), pools=(pool("b1"),))


class TestWeighBackend:
    def test_it_weighs_in_all_pools_or_in_one(self) -> None:
        plan = grant(two_pools(), WeighBackend(B2, 7))
        assert plan.desired is not None
        weights = [[member.weight for member in one.members] for one in plan.desired.pools]
        assert weights == [[1, 7, 1], [7, 1]]
        assert lines(grant(two_pools(), WeighBackend(B2, 7, API))) == ["~ pool api, backend b2: weight 1 → 7"]

    def test_the_same_weight_changes_nothing(self) -> None:
        plan = grant(fleet_view(), WeighBackend(B2, 1))
        assert (plan.desired, plan.intents, plan.differences) == (None, None, ())

    @pytest.mark.parametrize("weight", [0, -1, 65536])
    def test_a_weight_out_of_range_is_refused(self, weight: int) -> None:
        refuse(
            fleet_view(), WeighBackend(B2, weight), RefusalKind.INVALID, f"weight {weight} is out of range"
        )


class TestForce:
    @pytest.mark.parametrize(
        "request_",
        [
            Apply(fleet("b1", "b2"), force=True),
            AddBackend(B4, WEB, (ip_address("10.0.0.4"),), force=True),
            WeighBackend(B1, 3, force=True),
            DrainBackend(B1, force=True),
            RemoveBackend(B1, force=True),
            ReplaceBackend(B1, B4, (ip_address("10.0.0.4"),), force=True),
        ],
        ids=lambda request: type(request).__name__,
    )
    def test_it_names_the_newest_epoch_that_the_next_one_may_follow_unheld(self, request_: Request) -> None:
        view = settle(drain(fleet_view(live_nodes={}), "b3"))
        plan = grant(view, request_)
        assert plan.intents is not None
        assert plan.intents.forced == {WEB: current(view).number}

    def test_an_undrain_can_be_forced_too(self) -> None:
        view = settle(drain(fleet_view(live_nodes={}), "b3"))
        plan = grant(view, UndrainBackend(B3, force=True))
        assert plan.intents == Intents(forced={WEB: 2})

    def test_only_the_pools_of_the_verb_are_forced(self) -> None:
        plan = grant(two_pools(), DrainBackend(B2, API, force=True))
        assert plan.intents is not None
        assert plan.intents.forced == {API: 1}

    def test_what_was_forced_for_older_epochs_is_forgotten(self) -> None:
        view = replace(two_pools(), intents=Intents(forced={WEB: 7, API: 1, PoolName("gone"): 3}))
        plan = grant(view, DrainBackend(B1, WEB, force=True))
        assert plan.intents is not None
        assert plan.intents.forced == {WEB: 1, API: 1}

    def test_an_apply_without_force_forces_nothing(self) -> None:
        view = fleet_view(intents=Intents(forced={WEB: 1}))
        assert grant(view, Apply(fleet("b1", "b2"))).intents is None


class TestRemoveBackend:
    def test_a_backend_that_still_has_flows_is_only_removed_by_force(self) -> None:
        view = counted(settle(drain(with_agents(fleet_view(live_nodes={})), "b3")), b3=212)
        refuse(view, RemoveBackend(B3), RefusalKind.STATE, "b3 still holds 212 flows in pool web", "--wait")
        assert grant(view, RemoveBackend(B3, force=True)).desired == fleet("b1", "b2")
        assert grant(counted(view, b3=0), RemoveBackend(B3)).desired == fleet("b1", "b2")
        refuse(counted(view, b3=1), RemoveBackend(B3), RefusalKind.STATE, "b3 still holds 1 flow in")

    def test_a_drain_that_a_node_does_not_follow_yet_is_waited_for(self) -> None:
        view = settle(drain(fleet_view(live_nodes={}), "b3"))
        behind = replace(node("n1", 1), announced=(ip_address("192.0.2.10"),))
        view = replace(view, live_nodes={N1: behind})
        refuse(view, RemoveBackend(B3), RefusalKind.STATE, "not in effect on all nodes yet")

    def test_an_active_backend_is_only_removed_by_force(self) -> None:
        refuse(fleet_view(), RemoveBackend(B3), RefusalKind.STATE, "not drained", "lbctl backend drain b3")
        assert grant(fleet_view(), RemoveBackend(B3, force=True)).desired == fleet("b1", "b2")

    def test_a_drain_that_no_epoch_shows_yet_is_waited_for(self) -> None:
        view = drain(fleet_view(), "b3")
        refuse(view, RemoveBackend(B3), RefusalKind.STATE, "not in effect on all nodes yet", "try again")
        settled = settle(replace(view, live_nodes={}))
        plan = grant(settled, RemoveBackend(B3))
        assert (plan.desired, plan.intents) == (fleet("b1", "b2"), Intents())
        assert lines(plan) == ["- pool web, backend b3", "- backend b3"]

    def test_out_of_one_pool_it_stays_in_the_fleet(self) -> None:
        plan = grant(two_pools(), RemoveBackend(B3, API, force=True))
        assert plan.desired is not None
        assert [m.backend for m in plan.desired.pools[1].members] == [B2]
        assert B3 in {backend.name for backend in plan.desired.backends}

    def test_the_only_backend_of_a_pool_stays_even_by_force(self) -> None:
        view = fleet_view("b1")
        refuse(
            view, RemoveBackend(B1, force=True), RefusalKind.STATE, "only backend of pool web", "add another"
        )


def test_a_decision_never_changes_the_view() -> None:
    view = fleet_view()
    before = repr(view)
    for request in ALL:
        decide(view, request)
    assert repr(view) == before


def test_an_empty_desired_fleet_can_be_applied() -> None:
    assert grant(fleet_view(), Apply(DesiredFleet("demo"))).desired == DesiredFleet("demo")
