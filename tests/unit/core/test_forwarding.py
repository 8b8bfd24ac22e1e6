from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from lbnode.core.epochs import overlay
from lbnode.core.forwarding import (
    Command,
    DropPool,
    Forwarding,
    PoolInKernel,
    StageTable,
    SwitchTable,
    vips_ready,
)
from lbnode.core.history import build_table, seal
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import HealthCheck, Intents
from lbnode.model.ids import BackendName, EpochNumber
from lbnode.model.members import LoadedEpoch
from lbnode.model.view import FleetView

from .fleets import (
    SIZE,
    WEB,
    apply_commands,
    current,
    drain,
    fleet,
    holding,
    numbered,
    settle,
    view_of,
)


def shapes(commands: Sequence[Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def loaded(view: FleetView) -> Forwarding:
    forwarding = Forwarding()
    forwarding.handle(view, False, {})
    return forwarding


def test_a_current_epoch_is_staged_and_switched_to_and_then_left_alone() -> None:
    view = settle(view_of(fleet("b1", "b2")))
    forwarding = Forwarding()
    commands = forwarding.handle(view, False, {})
    assert shapes(commands) == ["StageTable", "SwitchTable"]
    assert isinstance(commands[0], StageTable)
    assert len(commands[0].table.owners) == SIZE
    assert forwarding.handle(view, False, {}) == []
    assert forwarding.loaded()[WEB].digest == current(view).digest


def test_an_offer_is_staged_and_carries_nothing_until_it_is_current() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = loaded(view)
    offered = seal(numbered(current(view), 2))
    view = holding(view, current(view), offered, using=1)
    assert shapes(forwarding.handle(view, False, {})) == ["StageTable"]
    assert (forwarding.loaded()[WEB].staged, forwarding.loaded()[WEB].current) == (2, 1)
    view = replace(view, current={WEB: offered.number})
    assert forwarding.handle(view, False, {}) == [SwitchTable(WEB)]
    assert (forwarding.loaded()[WEB].staged, forwarding.loaded()[WEB].current) == (None, 2)


def test_a_table_that_does_not_fit_the_digest_stays_out_and_the_old_one_in() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = loaded(view)
    wrong = replace(numbered(current(view), 2), digest="not this")
    broken = holding(view, wrong, using=2)
    assert forwarding.handle(broken, False, {}) == []
    assert forwarding.loaded()[WEB].current == 1
    assert "digest" in forwarding.loaded()[WEB].problem
    repaired = holding(view, seal(wrong), using=2)
    assert shapes(forwarding.handle(repaired, False, {})) == ["StageTable", "SwitchTable"]
    assert forwarding.loaded()[WEB].problem == ""


def test_a_daemon_that_restarts_keeps_the_fleets_table_that_it_finds_while_the_newest_does_not_fit() -> None:
    view = settle(view_of(fleet("b1")))
    first = current(view)
    wrong = replace(numbered(first, 2, window_from=1), digest="not this")
    broken = holding(view, first, wrong, using=2)
    for found, number in ((first.digest, 1), ("a local view's", None)):
        forwarding = Forwarding(found={WEB: (first.number, found)})
        assert forwarding.handle(broken, False, {}) == []
        assert forwarding.loaded()[WEB].current == number
        assert "digest" in forwarding.loaded()[WEB].problem


def test_a_copy_on_disk_that_is_older_than_the_kernels_table_does_not_replace_it_until_a_verdict_must() -> (
    None
):
    desired = fleet("b1", "b2")
    view = settle(view_of(desired))
    checked = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(port=80)),))
    first = current(view)
    copy = replace(view, desired=checked, connected=False)
    forwarding = Forwarding(found={WEB: (EpochNumber(first.number + 2), "two epochs later")})
    assert forwarding.handle(copy, True, {}) == []
    assert vips_ready(copy, forwarding.pools)
    kept = forwarding.loaded()[WEB]
    assert (kept.current, kept.digest) == (first.number + 2, "two epochs later")
    assert kept.problem == "epoch 3 is in the kernel and the copy on disk ends at epoch 1: kept as it is"
    failed = {WEB: {BackendName("b1"): False}}
    assert shapes(forwarding.handle(copy, True, failed)) == ["StageTable", "SwitchTable"]
    assert shapes(forwarding.handle(copy, True, {})) == ["StageTable", "SwitchTable"]


def test_the_verdicts_of_an_earlier_daemon_stay_in_the_kernel_until_this_one_has_had_time_for_its_own() -> (
    None
):
    view = replace(settle(view_of(fleet("b1", "b2"))), connected=False)
    forwarding = Forwarding(found={WEB: (current(view).number, "with verdicts on top")})
    assert forwarding.handle(view, False, {}) == []
    assert vips_ready(view, forwarding.pools)
    assert forwarding.loaded()[WEB] == LoadedEpoch(None, current(view).number, "with verdicts on top")
    assert shapes(forwarding.handle(view, True, {})) == ["StageTable", "SwitchTable"]
    forwarding = Forwarding(found={WEB: (current(view).number, current(view).digest)})
    assert shapes(forwarding.handle(view, False, {})) == ["StageTable", "SwitchTable"]


def test_the_store_takes_the_table_back_that_the_kernel_has_of_a_later_epoch() -> None:
    view = settle(view_of(fleet("b1")))
    assert view.connected
    forwarding = Forwarding(found={WEB: (EpochNumber(current(view).number + 2), "of another life")})
    assert shapes(forwarding.handle(view, False, {})) == ["StageTable", "SwitchTable"]


def test_an_epoch_of_another_fleet_or_a_newer_algorithm_or_an_unknown_key_is_refused() -> None:
    view = settle(view_of(fleet("b1")))
    for change, word in (
        ({"fleet": UUID(int=9)}, "another fleet"),
        ({"algorithm": 99}, "upgrade it"),
        ({"key_id": 7}, "key 7"),
    ):
        foreign = holding(view, replace(current(view), **change), using=1)
        forwarding = Forwarding()
        assert forwarding.handle(foreign, False, {}) == []
        assert word in forwarding.loaded()[WEB].problem


def test_a_table_whose_window_is_not_known_whole_stays_out_and_says_what_is_missing() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = loaded(view)
    lonely = holding(view, numbered(current(view), 2, window_from=1), using=2)
    assert forwarding.handle(lonely, False, {}) == []
    assert "needs epoch 1" in forwarding.loaded()[WEB].problem


def test_a_pool_without_an_epoch_leaves_the_kernel() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = loaded(view)
    assert forwarding.handle(replace(view, epochs={}, current={}), False, {}) == [DropPool(WEB)]


def test_out_of_the_fleets_reach_a_nodes_own_verdicts_count_and_the_fleets_return_undoes_them() -> None:
    desired = fleet("b1", "b2", "b3")
    view = settle(view_of(desired))
    checked = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(port=80)),))
    view = replace(view, desired=checked)
    forwarding = loaded(view)
    fleets_digest = forwarding.loaded()[WEB].digest
    cut_off = replace(view, connected=False)
    commands = forwarding.handle(cut_off, True, {WEB: {BackendName("b2"): False}})
    assert shapes(commands) == ["StageTable", "SwitchTable"]
    assert isinstance(commands[0], StageTable)
    assert commands[0].local
    assert view.backends[BackendName("b2")].id not in set(commands[0].table.owners.tolist())
    assert forwarding.loaded()[WEB].digest != fleets_digest
    assert forwarding.loaded()[WEB].is_own
    moved = commands[0].table.owners != build_table(current(view)).owners
    assert set(commands[0].table.first[moved].tolist()) <= {0, view.backends[BackendName("b2")].id}
    commands = forwarding.handle(view, False, {})
    assert shapes(commands) == ["StageTable", "SwitchTable"]
    assert isinstance(commands[0], StageTable)
    assert not commands[0].local
    assert forwarding.loaded()[WEB].digest == fleets_digest
    assert not forwarding.loaded()[WEB].is_own


def test_own_verdicts_count_until_the_fleet_has_learnt_of_them_and_then_the_fleets_epoch_is_used_as_it_is() -> (
    None
):
    """The store came back; what it says is as old as its outage, in which b2 failed."""
    desired = fleet("b1", "b2", "b3")
    checked = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(port=80)),))
    view = replace(settle(view_of(desired)), desired=checked)
    forwarding = loaded(view)
    failed = {WEB: {BackendName("b2"): False}}
    cut_off = replace(view, connected=False)
    assert shapes(forwarding.handle(cut_off, True, failed)) == ["StageTable", "SwitchTable"]
    assert forwarding.handle(view, True, failed) == []
    assert forwarding.pools[WEB].is_own
    without = overlay(current(view), {view.backends[BackendName("b2")].id: False}, 100)
    second = seal(numbered(without, 2))
    offered = holding(view, current(view), second, using=1)
    assert shapes(forwarding.handle(offered, True, failed)) == ["StageTable"]
    assert forwarding.loaded()[WEB].staged == 2
    assert forwarding.handle(replace(offered, current={WEB: second.number}), True, failed) == [
        SwitchTable(WEB)
    ]
    assert not forwarding.pools[WEB].is_own


def test_once_the_fleet_is_reached_a_node_fails_nobody_anew_by_itself() -> None:
    """The epoch that fails b3 may hold other changes too, and flows opened before it have no place in its lists."""
    desired = fleet("b1", "b2", "b3")
    checked = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(port=80)),))
    view = replace(settle(view_of(desired)), desired=checked)
    started = loaded(view)
    assert started.handle(view, True, {WEB: {BackendName("b3"): False}}) == []

    returned = loaded(view)
    returned.handle(replace(view, connected=False), True, {WEB: {BackendName("b2"): False}})
    assert returned.handle(view, True, {WEB: {BackendName("b2"): False, BackendName("b3"): False}}) == []
    assert shapes(
        returned.handle(view, True, {WEB: {BackendName("b2"): True, BackendName("b3"): False}})
    ) == [
        "StageTable",
        "SwitchTable",
    ]
    assert returned.pools[WEB].current == current(view)


def test_a_node_that_found_nobody_up_serves_nobody_until_it_does_although_the_fleet_has_gone_on() -> None:
    desired = fleet("b1", "b2", "b3", "b4")
    checked = replace(desired, pools=(replace(desired.pools[0], health=HealthCheck(port=80)),))
    view = replace(settle(view_of(desired)), desired=checked)
    drained = replace(settle(drain(view, "b4")), desired=checked)
    forwarding = loaded(drained)
    nobody = {WEB: dict.fromkeys(view.backends, False)}
    forwarding.handle(replace(drained, connected=False), True, nobody)
    later = replace(settle(replace(drained, intents=Intents())), desired=checked)
    forwarding.handle(later, True, nobody)
    held = forwarding.pools[WEB].current
    assert held is not None
    assert held.number == current(later).number > current(drained).number
    assert BackendState.ACTIVE not in {slot.state for slot in held.slots}
    forwarding.handle(later, True, {})
    assert forwarding.pools[WEB].current == current(later)


def test_what_the_kernel_refused_is_named_and_tried_again() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = Forwarding()
    forwarding.handle(view, False, {})
    forwarding.fail(WEB, PoolInKernel(), "arena is full")
    assert forwarding.loaded()[WEB].problem == "arena is full"
    assert forwarding.loaded()[WEB].current is None
    assert shapes(forwarding.handle(view, False, {})) == ["StageTable", "SwitchTable"]


def test_a_vip_is_ready_when_its_pools_table_is_in_use() -> None:
    view = settle(view_of(fleet("b1")))
    assert vips_ready(view, {}) == ()
    assert [vip.port for vip in vips_ready(view, loaded(view).pools)] == [80]


def test_a_first_epoch_on_offer_is_staged_before_any_is_current() -> None:
    view = view_of(fleet("b1"))
    settled = settle(view)
    offered = replace(settled, current={})
    forwarding = Forwarding()
    assert shapes(forwarding.handle(offered, False, {})) == ["StageTable"]
    assert apply_commands(offered, ()).current == {}
    assert forwarding.handle(settled, False, {}) == [SwitchTable(WEB)]


def test_a_pool_that_a_vip_in_the_kernel_still_points_at_stays() -> None:
    view = settle(view_of(fleet("b1")))
    forwarding = loaded(view)
    gone = replace(view, epochs={}, current={})
    assert forwarding.handle(gone, False, {}, in_use=[WEB]) == []
    assert forwarding.handle(gone, False, {}) == [DropPool(WEB)]
