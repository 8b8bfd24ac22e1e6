"""A node that is cut off from the store goes by an old epoch: status says which, since when, and whom it keeps busy."""

from __future__ import annotations

from dataclasses import replace

from lbnode.core.attendance import Attendance
from lbnode.core.status import assess
from lbnode.model.fleet import Intents
from lbnode.model.flows import HeldChange, HeldChanges
from lbnode.model.ids import BackendName
from lbnode.model.status import FleetStatus
from lbnode.model.view import FleetView

from .fleets import WEB, current, drain, settle
from .test_status import N1, N2, live, well

B1, B2, B3 = (BackendName(name) for name in ("b1", "b2", "b3"))


def without(view: FleetView, *names: str) -> FleetView:
    return replace(view, live_nodes={name: one for name, one in view.live_nodes.items() if name not in names})


def drained_since() -> tuple[FleetView, Attendance]:
    """n2 was there, and gone at 1000; b2 drains by an epoch of 1010."""
    attendance = Attendance()
    attendance.observe(well(), 900.0)
    gone = without(well(), N2)
    attendance.observe(gone, 1000.0)
    view = settle(drain(gone, "b2"), wall=1010.0)
    return replace(view, live_nodes={N1: live(view, N1)}), attendance


def seen(view: FleetView, attendance: Attendance, now: float = 1157.0) -> FleetStatus:
    return assess(view, view.live_nodes[N1], {WEB: current(view)}, now, attendance.gone_at)


def stragglers(status: FleetStatus) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in status.problems if "has not got" in one.what]


def test_it_is_named_with_how_long_it_has_been_gone_and_whom_it_still_gives_flows() -> None:
    status = seen(*drained_since())
    assert stragglers(status) == [
        "pool web: n2 has not got epoch 2 (cut off from the store for 157 s): while it runs, "
        "it still gives new flows to b2"
    ]
    (problem,) = [one for one in status.problems if "has not got" in one.what]
    assert "lbctl node remove n2" in problem.remedy
    assert status.nodes[1].gone_s == 157.0


def test_who_is_waited_for_is_named_too() -> None:
    view, attendance = drained_since()
    held = HeldChanges(WEB, (HeldChange("weight of b1 1 → 2", {B3: 212}, 1020.0, 4000.0),))
    assert stragglers(seen(replace(view, held={WEB: held}), attendance))[0].endswith("new flows to b2, b3")


def test_one_that_left_with_the_current_epoch_in_its_kernel_keeps_nobody_busy() -> None:
    view = settle(drain(well(), "b2"), wall=1010.0)
    view = replace(view, live_nodes={name: live(view, name) for name in (N1, N2)})
    attendance = Attendance()
    attendance.observe(view, 1020.0)
    view = without(view, N2)
    attendance.observe(view, 1030.0)
    assert seen(view, attendance).pools[0].behind == {}


def test_one_that_was_never_seen_is_named_without_a_time() -> None:
    view, _ = drained_since()
    assert "n2 has not got epoch 2 (cut off from the store): while" in stragglers(seen(view, Attendance()))[0]


def test_without_a_drain_and_without_a_wait_nobody_is_kept_busy() -> None:
    view, attendance = drained_since()
    view = replace(settle(replace(view, intents=Intents()), wall=1020.0))
    assert stragglers(seen(view, attendance)) == []


def test_a_drained_node_gets_no_traffic_and_is_not_named() -> None:
    view, attendance = drained_since()
    assert (
        seen(replace(view, intents=replace(view.intents, drained_nodes=(N2,))), attendance).pools[0].behind
        == {}
    )


def test_a_node_that_is_back_or_removed_is_missed_no_more_and_a_lost_store_says_nothing() -> None:
    attendance = Attendance()
    attendance.observe(well(), 0.0)
    attendance.observe(replace(without(well(), N1, N2), connected=False), 1.0)
    assert attendance.gone_at == {}
    attendance.observe(without(well(), N1, N2), 2.0)
    assert attendance.gone_at == {N1: 2.0, N2: 2.0}
    attendance.observe(without(replace(well(), nodes={}), N2), 3.0)
    assert attendance.gone_at == {}
