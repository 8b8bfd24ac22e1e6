"""The drill: no flow breaks when nodes come and go, and the drill would tell if one did."""

from __future__ import annotations

import json
import time

import pytest

from lbnode.lab import assembly
from lbnode.lab.drill import run_drill
from lbnode.lab.events import STALL_S, Event
from lbnode.lab.plan import VIP, Role
from lbnode.lab.report import Verdict
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.screen import Silence
from tests.e2e.conftest import lbctl, on, running

FLOWS = 500
FEW_FLOWS = 60


@pytest.mark.timeout(180)
def test_no_flow_breaks_when_nodes_come_and_go(name: str) -> None:
    assert lbctl("lab", "up", "--name", name).returncode == 0

    ended = lbctl("lab", "drill", "nodes", "--name", name, "--flows", str(FLOWS), "--json")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    events = report["events"]
    moved = {event["what"]: event["changed_node"] for event in events}
    assert report["flows"] == FLOWS
    assert report["broken"] == sum(event["broken"] for event in events) == 0
    assert report["longest_stall_s"] < 8
    assert all(event["longest_stall_s"] < 1 for event in events if not event["what"].startswith("cut"))
    assert list(moved) == [
        "add node n4",
        "drain node n1",
        "kill daemon of n2",
        "stop ExaBGP of n3",
        "cut links of n2",
    ]
    assert moved.pop("kill daemon of n2") == 0
    assert all(count > FLOWS / 10 for count in moved.values()), moved
    wait_until(lambda: running(name).next_hops() == {"n1", "n2", "n3", "n4"}, 20, "undo the drill")


@pytest.mark.timeout(180)
def test_the_drill_holds_on_the_file_store_too(name: str) -> None:
    up = lbctl("lab", "up", "--name", name, "--store", "file", "--nodes", "2", "--backends", "2")
    assert up.returncode == 0, up.stderr
    assert not running(name).plan.of(Role.STORE)

    ended = lbctl("lab", "drill", "nodes", "--name", name, "--flows", "100", "--json")

    assert ended.returncode == 0, ended.stdout + ended.stderr


class Nothing(Event):
    """An event in which nothing happens."""

    what = "nothing"
    story = "nothing happens"

    def act(self, lab: RunningLab) -> None:
        """Do nothing."""

    def done(self, lab: RunningLab) -> bool:
        return True


def test_a_drill_in_which_no_flow_changes_node_proves_nothing(lab: RunningLab) -> None:
    report = run_drill(lab, [Nothing()], FEW_FLOWS, Silence())

    assert report.verdict is Verdict.NOTHING
    assert (report.flows, report.broken) == (FEW_FLOWS, 0)


class RestartServer(Event):
    """A backend's web server dies and is started again: no load balancer can mend that."""

    what = "restart b1's server"
    story = "its connections are lost"

    def act(self, lab: RunningLab) -> None:
        lab.record = assembly.restart_server(lab.record, lab.plan.host("b1"))

    def done(self, lab: RunningLab) -> bool:
        return on(lab, "b1", "curl", "-s", "-m", "1", "http://127.0.0.1/").stdout == "b1\n"


def test_the_drill_tells_of_connections_that_are_reset(lab: RunningLab) -> None:
    report = run_drill(lab, [RestartServer()], FEW_FLOWS, Silence())

    assert report.verdict is Verdict.BROKEN
    assert 0 < report.broken < FEW_FLOWS
    assert report.events[0].reasons == {"reset": report.broken}


class Blackhole(Event):
    """The router drops everything to the VIP for longer than flows may stall."""

    what = "black hole"
    story = "nothing arrives for a while"
    lasts_s = STALL_S + 0.5

    def act(self, lab: RunningLab) -> None:
        self._until = time.monotonic() + self.lasts_s
        on(lab, "router", "ip", "route", "add", "blackhole", str(VIP), "metric", "1")

    def done(self, lab: RunningLab) -> bool:
        over = time.monotonic() > self._until
        if over:
            on(lab, "router", "ip", "route", "del", "blackhole", str(VIP), "metric", "1")
        return over


def test_the_drill_tells_of_connections_that_stall(lab: RunningLab) -> None:
    report = run_drill(lab, [Blackhole()], FEW_FLOWS, Silence())

    assert report.verdict is Verdict.BROKEN
    assert report.events[0].reasons == {"stalled": FEW_FLOWS}
    assert report.longest_stall_s > STALL_S


class Misdirection(Event):
    """The router sends the VIP's packets to b2 without asking any node: flows of other backends end."""

    what = "misdirection"
    story = "all packets go to one backend"

    def act(self, lab: RunningLab) -> None:
        on(
            lab,
            "router",
            "ip",
            "route",
            "add",
            str(VIP),
            "via",
            str(lab.plan.host("b2").address),
            "metric",
            "1",
        )

    def done(self, lab: RunningLab) -> bool:
        return True

    def undo(self, lab: RunningLab) -> None:
        on(lab, "router", "ip", "route", "del", str(VIP), "metric", "1")


def test_the_drill_tells_of_flows_that_go_to_another_backend(lab: RunningLab) -> None:
    report = run_drill(lab, [Misdirection()], FEW_FLOWS, Silence())

    assert report.verdict is Verdict.BROKEN
    assert report.events[0].reasons == {"reset": report.broken}
    assert report.broken < FEW_FLOWS


def test_after_its_drills_the_lab_is_as_before(lab: RunningLab) -> None:
    assert lab.next_hops() == {node.name for node in lab.nodes}
