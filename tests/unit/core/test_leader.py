from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from lbnode.core.leader import ACKNOWLEDGE_S, AGENTS_LOAD_S, KEEP_EPOCHS, Leader
from lbnode.core.writes import FoundFleet, MakeCurrent, OfferEpoch, RetirePool
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import Pool
from lbnode.model.ids import BackendName, EpochNumber, NodeName
from lbnode.model.members import AgentMember, LoadedEpoch, NodeLive
from lbnode.model.view import FleetView

from .fleets import WEB, agent, apply_commands, current, drain, fleet, node, settle, slot_of, view_of

WINDOW_S = 3601.0


def live(*nodes: NodeLive) -> dict[NodeName, NodeLive]:
    return {entry.name: entry for entry in nodes}


def in_use(number: int, *without: str) -> tuple[MakeCurrent, ...]:
    """The one command that makes an epoch current, and those who have not acknowledged it."""
    return (MakeCurrent(WEB, EpochNumber(number), without),)


def test_an_empty_store_is_founded_first() -> None:
    assert Leader().handle(FleetView(connected=True), 0.0, 0.0).commands == (FoundFleet(),)


def test_a_fleet_nobody_described_yet_has_nothing_to_do() -> None:
    empty = replace(view_of(fleet("b1")), desired=None)
    assert Leader().handle(empty, 0.0, 0.0).commands == ()


def test_a_leader_that_cannot_read_what_all_derives_from_changes_nothing_and_says_so() -> None:
    for record in ("ids", "desired", "intents"):
        view = replace(view_of(fleet("b1")), corrupt=(f"{record}: not JSON",))
        decision = Leader().handle(view, 0.0, 0.0)
        assert decision.commands == ()
        assert decision.alarms == (f"{record}: not JSON",)


def test_the_first_apply_ends_in_a_current_epoch_with_a_digest() -> None:
    view = settle(view_of(fleet("b1", "b2", "b3")))
    assert {member.id for member in view.backends.values()} == {1, 2, 3}
    assert current(view).number == 1
    assert current(view).digest


def test_a_leader_at_rest_writes_nothing() -> None:
    view = settle(view_of(fleet("b1", "b2")))
    assert Leader().handle(view, 0.0, 0.0).commands == ()


def test_another_node_becomes_leader_and_continues_with_the_same_numbers() -> None:
    view = settle(view_of(fleet("b1", "b2")))
    view = settle(replace(view, desired=fleet("b1", "b2", "b3")), Leader())
    assert current(view).number == 2
    assert {member.id for member in view.backends.values()} == {1, 2, 3}


def test_an_offer_waits_for_the_connected_nodes_and_goes_on_when_they_have_it() -> None:
    leader = Leader()
    view = replace(settle(view_of(fleet("b1"))), live_nodes=live(node("n1", 1), node("n2", 1)))
    view = replace(view, desired=fleet("b1", "b2"))
    view = apply_commands(view, leader.handle(view, 10.0, 0.0).commands)
    view = apply_commands(view, leader.handle(view, 10.0, 0.0).commands)
    waiting = leader.handle(view, 10.05, 0.0)
    assert waiting.commands == ()
    assert waiting.wake_at is not None
    assert waiting.wake_at <= 10.0 + ACKNOWLEDGE_S
    view = replace(view, live_nodes=live(node("n1", 1, staged=2), node("n2", 1, staged=2)))
    assert leader.handle(view, 10.06, 0.0).commands == in_use(2)


def test_an_offer_goes_on_without_a_laggard_and_names_it() -> None:
    leader = Leader()
    view = settle(view_of(fleet("b1")))
    view = replace(view, live_nodes=live(node("n1", 1, staged=2), node("n2", 1)))
    view = replace(view, desired=fleet("b1", "b2"))
    for _ in range(2):
        view = apply_commands(view, leader.handle(view, 10.0, 0.0).commands)
    decision = leader.handle(view, 10.0 + ACKNOWLEDGE_S, 0.0)
    assert decision.commands == in_use(2, "node n2")


def test_an_offer_waits_for_the_agents_of_its_own_backends_only() -> None:
    leader = Leader()
    view = settle(view_of(fleet("b1")))
    strangers = {BackendName("b1"): agent("b1", 1), BackendName("other"): agent("other", 0)}
    view = replace(view, live_agents=strangers, desired=fleet("b1", "b2"))
    for _ in range(2):
        view = apply_commands(view, leader.handle(view, 0.0, 0.0).commands)
    decision = leader.handle(view, AGENTS_LOAD_S, 0.0)
    assert decision.commands == in_use(2, "backend b1")


def test_a_planned_change_waits_longer_for_agents_than_for_nodes_unless_a_backend_fails_meanwhile() -> None:
    leader = Leader()
    up = {"b1": True, "b2": True, "b3": True}
    view = settle(
        view_of(fleet("b1", "b2", "b3", health=True), live_nodes=live(node("n1", 9, up=up))), leader
    )
    view = replace(drain(view, "b1"), live_agents={BackendName("b2"): agent("b2", 1)})
    view = apply_commands(view, leader.handle(view, 0.0, 0.0).commands)
    assert leader.handle(view, ACKNOWLEDGE_S, 0.0).commands == ()
    failing = replace(view, live_nodes=live(node("n1", 9, up={**up, "b3": False})))
    assert leader.handle(failing, ACKNOWLEDGE_S, 0.0).commands == in_use(2, "backend b2")


def test_a_node_with_a_problem_is_not_waited_for() -> None:
    leader = Leader()
    view = settle(view_of(fleet("b1")))
    ill = replace(node("n1"), pools={WEB: LoadedEpoch(None, None, "", problem="digest differs")})
    view = replace(view, live_nodes=live(ill), desired=fleet("b1", "b2"))
    for _ in range(2):
        view = apply_commands(view, leader.handle(view, 0.0, 0.0).commands)
    assert leader.handle(view, 0.01, 0.0).commands == in_use(2)


def test_what_nodes_see_fails_a_backend_and_a_single_dissenter_does_not() -> None:
    desired = fleet("b1", "b2", "b3", health=True)
    well = {"b1": True, "b2": True, "b3": True}
    ill = {**well, "b2": False}
    leader = Leader()
    view = view_of(desired, live_nodes=live(*(node(f"n{i}", 9, up=well) for i in range(3))))
    view = settle(view, leader)
    one = replace(
        view, live_nodes=live(node("n0", 9, up=ill), node("n1", 9, up=well), node("n2", 9, up=well))
    )
    assert leader.handle(one, 0.0, 0.0).commands == ()
    two = replace(view, live_nodes=live(node("n0", 9, up=ill), node("n1", 9, up=ill), node("n2", 9, up=well)))
    after = settle(two, leader)
    by_id = {slot.backend: slot.state for slot in current(after).slots}
    assert by_id[after.backends[BackendName("b2")].id] is BackendState.FAILED


def test_drain_and_undrain_change_the_state_and_nothing_else() -> None:
    view = settle(view_of(fleet("b1", "b2")))
    drained = settle(drain(view, "b2"))
    assert [slot.state for slot in current(drained).slots] == [BackendState.ACTIVE, BackendState.DRAINING]
    back = settle(drain(drained))
    assert current(back).slots == current(view).slots


def test_a_removed_backend_gives_its_id_back_but_not_before_its_epoch_is_gone() -> None:
    view = settle(view_of(fleet("b1", "b2")))
    after = settle(replace(view, desired=fleet("b1")))
    assert BackendName("b2") in after.backends
    after = settle(after, wall=WINDOW_S)
    assert BackendName("b2") not in after.backends
    assert set(after.ids.released_at) == {2}
    again = settle(replace(after, desired=fleet("b1", "b9")), wall=WINDOW_S)
    assert again.backends[BackendName("b9")].id == 3
    assert slot_of(again, "b9") == 1


def test_a_backend_becomes_one_with_an_agent_when_the_agent_registers() -> None:
    view = settle(view_of(fleet("b1")))
    assert not view.backends[BackendName("b1")].agent
    registered = {BackendName("b1"): AgentMember(BackendName("b1"), (ip_address("10.0.0.1"),), 1)}
    assert settle(replace(view, agents=registered)).backends[BackendName("b1")].agent


def test_a_pool_that_nobody_wants_is_retired() -> None:
    view = settle(view_of(fleet("b1")))
    gone = replace(fleet("b1"), pools=(), vips=())
    assert RetirePool(WEB) in Leader().handle(replace(view, desired=gone), 0.0, 0.0).commands


def test_old_epochs_are_forgotten_but_the_last_ones_stay() -> None:
    view = settle(view_of(fleet("b1")))
    for weight in range(2, 20):
        view = settle(replace(view, desired=replace(fleet("b1"), pools=(replace_weight(weight),))))
    assert len(view.epochs[WEB]) == 19
    view = settle(view, wall=WINDOW_S)
    assert current(view).window_from == current(view).number
    assert len(view.epochs[WEB]) == KEEP_EPOCHS + 1


def replace_weight(weight: int) -> Pool:
    desired = fleet("b1").pools[0]
    return replace(desired, members=(replace(desired.members[0], weight=weight),))


def test_every_offer_has_a_number_one_higher_than_the_last() -> None:
    view = settle(view_of(fleet("b1")))
    commands = Leader().handle(replace(view, desired=fleet("b1", "b2")), 0.0, 0.0).commands
    view = apply_commands(replace(view, desired=fleet("b1", "b2")), commands)
    offers = [
        command for command in Leader().handle(view, 0.0, 0.0).commands if isinstance(command, OfferEpoch)
    ]
    assert [offer.epoch.number for offer in offers] == [2]
