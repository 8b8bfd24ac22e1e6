"""What a backend's machine must hold, for every situation of its pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbnode.backend.loading import DropPool, LoadTable
from lbnode.backend.plan import (
    Accept,
    Acknowledge,
    AddAddress,
    Attach,
    Plan,
    RemoveAddress,
    Serve,
    host_state,
)
from lbnode.model.epoch import BackendState
from lbnode.model.ids import EpochNumber, NodeName, PoolName
from lbnode.model.intake import Intake
from lbnode.model.view import FleetView
from tests.unit.backend.fleets import B1, ID1, ID2, NODE1, NODE2, VIP, WEB, epoch, view, without_vips


def test_a_backend_in_the_pool_answers_for_its_vips() -> None:
    wanted = host_state(view(epoch(0x1_0003, ID1, ID2)), B1)
    assert wanted.addresses == {VIP}
    assert {(vip.protocol, vip.port, vip.pool) for vip in wanted.vips} == {(6, 80, WEB), (17, 53, WEB)}
    assert wanted.self_id == ID1
    assert wanted.pools == {WEB}
    assert wanted.intake == {WEB: Intake.ONE_BEHIND}


def test_gre_is_accepted_from_every_member_whether_it_is_connected_or_not() -> None:
    wanted = host_state(view(epoch(1, ID1)), B1)
    assert wanted.sources == {NODE1, NODE2}
    assert wanted.nodes == (NodeName("n1"), NodeName("n2"))


@pytest.mark.parametrize("state", list(BackendState))
def test_a_draining_or_failed_backend_keeps_its_vips(state: BackendState) -> None:
    assert host_state(view(epoch(2, ID1, ID2, state=state)), B1).addresses == {VIP}


def test_a_former_occupant_keeps_its_vips_but_has_no_place() -> None:
    wanted = host_state(view(epoch(2, ID2, former=(ID1,)), members=()), B1)
    assert wanted.addresses == {VIP}
    assert not wanted.intake
    assert wanted.leaves == {WEB}


@pytest.mark.parametrize(
    ("state", "intake", "leaves"),
    [
        (BackendState.ACTIVE, {WEB: Intake.ONE_BEHIND}, set()),
        (BackendState.DRAINING, {}, {WEB}),
        (BackendState.FAILED, {WEB: Intake.IN_STEP}, set()),
    ],
)
def test_who_leaves_takes_no_new_flows_and_who_has_failed_none_of_senders_that_do_not_know(
    state: BackendState, intake: dict[PoolName, Intake], leaves: set[PoolName]
) -> None:
    wanted = host_state(view(epoch(2, ID1, ID2, state=state)), B1)
    assert wanted.intake == intake
    assert wanted.leaves == leaves


def test_who_is_about_to_leave_takes_new_flows_until_the_offer_is_current() -> None:
    offered, before = epoch(2, ID1, ID2, state=BackendState.DRAINING), epoch(1, ID1, ID2)
    assert host_state(view(before, offered, current=1), B1).intake == {WEB: Intake.ONE_BEHIND}
    assert host_state(view(before, offered, current=2), B1).intake == {}


def test_who_has_failed_by_the_offer_takes_no_new_flows_of_senders_that_do_not_know_it_yet() -> None:
    offered, before = epoch(2, ID1, ID2, state=BackendState.FAILED), epoch(1, ID1, ID2)
    assert host_state(view(before, offered, current=1), B1).intake == {WEB: Intake.IN_STEP}


def test_packets_can_be_passed_on_to_every_other_backend() -> None:
    assert [peer.id for peer in host_state(view(epoch(1, ID1)), B1).peers] == [ID2]


def test_a_backend_that_only_the_current_epoch_names_waits_until_that_is_over() -> None:
    offered, current = epoch(2, ID2), epoch(1, ID1, ID2)
    assert host_state(view(offered, current, current=1, members=()), B1).addresses == {VIP}
    assert host_state(view(offered, current, current=2, members=()), B1).addresses == frozenset()


def test_a_backend_is_ready_before_the_first_epoch_that_names_it() -> None:
    wanted = host_state(view(), B1)
    assert wanted.addresses == {VIP}
    assert wanted.pools == frozenset()


def test_a_backend_without_an_id_yet_has_no_place() -> None:
    seen = replace(view(epoch(1, ID2)), backends={})
    assert host_state(seen, B1).self_id is None


def test_a_backend_of_other_pools_answers_for_nothing() -> None:
    wanted = host_state(view(epoch(1, ID2), members=()), B1)
    assert wanted.vips == frozenset()
    assert wanted.pools == frozenset()


def test_packets_are_let_in_before_the_epoch_is_acknowledged() -> None:
    commands = Plan(B1).handle(view(epoch(1, ID1)), on_lo=(), owned=())
    order = [AddAddress, Accept, LoadTable, Serve, Attach, Acknowledge]
    assert [type(command) for command in commands] == order


def test_what_holds_already_is_not_said_again() -> None:
    plan, seen = Plan(B1), view(epoch(1, ID1))
    plan.handle(seen, on_lo=(), owned=())
    assert plan.handle(seen, on_lo=(VIP,), owned=(VIP,)) == [Attach()]


def test_after_a_failure_everything_is_said_again() -> None:
    plan, seen = Plan(B1), view(epoch(1, ID1))
    plan.handle(seen, on_lo=(), owned=())
    plan.forget()
    order = [Accept, LoadTable, Serve, Attach, Acknowledge]
    assert [type(command) for command in plan.handle(seen, (VIP,), (VIP,))] == order


def test_an_address_that_somebody_took_off_lo_comes_back() -> None:
    plan, seen = Plan(B1), view(epoch(1, ID1))
    plan.handle(seen, on_lo=(), owned=())
    assert plan.handle(seen, on_lo=(), owned=(VIP,)) == [AddAddress(VIP), Attach()]


def test_a_vip_leaves_lo_only_after_its_packets_are_refused() -> None:
    plan, seen = Plan(B1), view(epoch(1, ID1))
    plan.handle(seen, on_lo=(), owned=())
    commands = plan.handle(without_vips(seen), on_lo=(VIP,), owned=(VIP,))
    assert commands == [Serve(frozenset(), {WEB: Intake.ONE_BEHIND}, ID1), Attach(), RemoveAddress(VIP)]


def test_an_address_that_was_on_lo_before_any_agent_stays() -> None:
    commands = Plan(B1).handle(without_vips(view(epoch(1, ID1))), on_lo=(VIP,), owned=())
    assert not [command for command in commands if isinstance(command, RemoveAddress)]


def test_an_empty_store_changes_nothing_on_a_machine_that_serves() -> None:
    plan = Plan(B1)
    plan.handle(view(epoch(1, ID1)), on_lo=(), owned=())
    assert plan.handle(FleetView(), on_lo=(VIP,), owned=(VIP,)) == [Attach()]


def test_a_new_epoch_is_acknowledged() -> None:
    plan = Plan(B1)
    plan.handle(view(epoch(1, ID1)), on_lo=(VIP,), owned=(VIP,))
    commands = plan.handle(view(epoch(1, ID1), epoch(2, ID1, ID2), current=1), (VIP,), (VIP,))
    assert commands[-1] == Acknowledge({WEB: EpochNumber(2)}, (NodeName("n1"), NodeName("n2")))


def test_a_new_node_is_let_in_and_named() -> None:
    plan, seen = Plan(B1), view(epoch(1, ID1))
    first = replace(seen, nodes={name: node for name, node in seen.nodes.items() if name == "n1"})
    plan.handle(first, on_lo=(VIP,), owned=(VIP,))
    accept, _, acknowledge = plan.handle(seen, on_lo=(VIP,), owned=(VIP,))
    assert isinstance(accept, Accept)
    assert accept.sources == {NODE1, NODE2}
    assert isinstance(acknowledge, Acknowledge)
    assert acknowledge.nodes == ("n1", "n2")


def test_a_pool_that_was_served_stays_served_while_this_backend_is_a_member() -> None:
    plan = Plan(B1)
    plan.handle(view(epoch(1, ID1)), on_lo=(), owned=())
    commands = plan.handle(view(epoch(2, ID2), members=()), on_lo=(VIP,), owned=(VIP,))
    assert [type(command) for command in commands] == [LoadTable, Serve, Attach, Acknowledge]
    (serve,) = [command for command in commands if isinstance(command, Serve)]
    assert {vip.address for vip in serve.vips} == {VIP}
    assert serve.intake == {}


def test_a_pool_that_is_none_of_ours_any_more_is_dropped_after_its_vips() -> None:
    plan = Plan(B1)
    plan.handle(view(epoch(1, ID1)), on_lo=(), owned=())
    gone = view(epoch(2, ID2), members=())
    gone = replace(gone, backends={name: member for name, member in gone.backends.items() if name != B1})
    commands = plan.handle(gone, on_lo=(VIP,), owned=(VIP,))
    kinds = [type(command) for command in commands]
    assert kinds == [Serve, DropPool, Attach, Acknowledge, RemoveAddress]


def test_a_vip_whose_pool_has_no_table_yet_is_on_lo_and_takes_no_packets() -> None:
    commands = Plan(B1).handle(view(), on_lo=(), owned=())
    assert AddAddress(VIP) in commands
    assert Serve(frozenset(), {}, ID1) in commands


def test_maps_of_another_making_are_replaced_only_by_maps_that_lack_nothing() -> None:
    plan, good = Plan(B1, succeeds=True), view(epoch(1, ID1))
    bad = replace(good, epochs={WEB: {EpochNumber(1): replace(epoch(1, ID1), digest="5" * 32)}})
    assert plan.handle(FleetView(), on_lo=(VIP,), owned=(VIP,)) == []
    lacking = plan.handle(bad, on_lo=(VIP,), owned=(VIP,))
    assert not {Attach, Acknowledge} & {type(command) for command in lacking}
    whole = [type(command) for command in plan.handle(good, on_lo=(VIP,), owned=(VIP,))]
    assert whole[-2:] == [Attach, Acknowledge]
    assert whole.index(LoadTable) < whole.index(Attach)
