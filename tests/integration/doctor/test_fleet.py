"""The doctor in a fleet that carries traffic: every machine is well, and then one thing after the other is not."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lbnode.dataplane.libbpf import Map
from lbnode.dataplane.pins import BACKEND
from lbnode.model.ids import BackendName
from lbnode.model.requests import WeighBackend
from tests.integration.agents import VIP, serving
from tests.integration.cable import eventually, ip
from tests.integration.doctor.bedside import lbctl_doctor
from tests.integration.doctor.ward import Ward, ward
from tests.integration.memory import FLEET

SECOND = np.uint64(1 << 32)
"""A bit of the second alternate in a bucket's word."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with ward(tmp_path_factory.mktemp("ward")) as made:
        yield made


@contextmanager
def standing_still(pid: int, lock: Path) -> Iterator[None]:
    """A daemon that hangs, but not while it holds the `lock` of the store: then nobody could go on."""

    def stopped_without_it() -> bool:
        os.kill(pid, signal.SIGSTOP)
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(pid, signal.SIGCONT)
                return False
        return True

    eventually("it stands still", stopped_without_it)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def written_to(pins: Path) -> Iterator[None]:
    """Tables in whose buckets somebody writes another second alternate, behind the daemon's back."""
    words = np.frombuffer(Map.open_pinned(pins / "tables").mmap(), dtype="<u8")
    used = np.flatnonzero(words)
    words[used] ^= SECOND
    try:
        yield
    finally:
        words[used] ^= SECOND


def test_every_machine_of_a_fleet_in_service_is_well(fleet: Ward) -> None:
    for report in (fleet.examine_node(), fleet.examine_backend("b2"), fleet.examine_backend("b3")):
        assert [each for each in report.document["examinations"] if each["findings"]] == []


def test_the_command_says_so_too_and_has_a_status(fleet: Ward) -> None:
    report, status = lbctl_doctor(fleet.node.cable.near, "node", fleet.node.directory / "lbnode.yaml")
    assert (status, report.document["healthy"]) == (0, True)
    assert report.document["subject"] == "node n1"


def test_a_service_that_ended_is_found_from_both_ends(fleet: Ward) -> None:
    fleet.services["b2"].close()
    found = fleet.examine_node().finding("probes", "to backend b2: refused")
    assert found["grade"] == "failure"
    assert fleet.examine_node().findings("probes") == [found]
    assert "nobody listens" in fleet.examine_backend("b2").finding("services", str(VIP))["what"]
    fleet.services["b2"].enter_context(serving(fleet.backends["b2"]))
    assert fleet.examine_node().findings("probes") == []


def test_a_backend_that_swallows_what_it_gets_is_found(fleet: Ward) -> None:
    hub_port = f"p{int(fleet.backends['b2'].address) & 0xFF}"
    ip("-n", fleet.hub, "link", "set", hub_port, "down")
    report = fleet.examine_node()
    ip("-n", fleet.hub, "link", "set", hub_port, "up")
    assert "a SYN through the tunnel is not answered" in report.finding("probes", "to backend b2")["what"]
    assert [each["subject"] for each in report.findings("paths")] == ["backend b2 (10.0.0.3)"]


def test_an_agent_that_hangs_is_behind_the_fleet(fleet: Ward) -> None:
    with standing_still(fleet.agents["b2"].pid, fleet.node.directory / "store" / FLEET / "lock"):
        before = fleet.node.pool().current
        with fleet.node.client() as client:
            client.weigh_backend(WeighBackend(BackendName("b3"), 2))
        eventually("the change is current", lambda: fleet.node.pool().current != before)
        found = fleet.examine_backend("b2").finding("tables", "table of pool web")
        ip("-n", fleet.backends["b2"].namespace, "addr", "del", f"{VIP}/32", "dev", "lo")
        lost = fleet.examine_backend("b2").finding("services", "its address is not on lo")
    assert f"is at epoch {before}" in found["what"]
    assert lost["grade"] == "failure"
    eventually("it has caught up", lambda: not fleet.examine_backend("b2").findings("services"))
    assert fleet.examine_backend("b2").findings("tables") == []


def test_a_node_that_hangs_is_found_although_the_fleet_takes_it_for_connected(fleet: Ward) -> None:
    assert fleet.node.daemon is not None
    with standing_still(fleet.node.daemon.pid, fleet.node.directory / "store" / FLEET / "lock"):
        report = fleet.examine_node()
    found = report.finding("daemon", "no answer from unix:")
    assert f"kill -USR1 {fleet.node.daemon.pid}" in found["mend"]
    assert report.findings("probes") == []


def test_a_table_that_something_else_wrote_to_is_found_at_either_end(fleet: Ward) -> None:
    member = fleet.backends["b2"]
    with written_to(fleet.node.directory / "run" / "bpf" / "node"):
        found = fleet.examine_node().finding("tables", "table of pool web: differs: digest")
    assert found["grade"] == "failure"
    with written_to(member.directory / "run" / "bpf" / BACKEND):
        assert fleet.examine_backend("b2").finding("tables", "differs: digest")
    assert fleet.examine_node().findings("tables") == []


def test_a_clamp_that_somebody_removed_is_found(fleet: Ward) -> None:
    remove = [
        "ip",
        "netns",
        "exec",
        fleet.backends["b3"].namespace,
        "tc",
        "qdisc",
        "del",
        "dev",
        "eth0",
        "clsact",
    ]
    subprocess.run(remove, check=True, timeout=20)
    assert fleet.examine_backend("b3").finding("services", "the MSS clamp")["grade"] == "failure"


def test_a_dead_daemon_is_found_while_its_packets_go_on(fleet: Ward) -> None:
    fleet.node.stop()
    report = fleet.examine_node()
    assert report.finding("daemon", "lbnode: does not run")["mend"] == "systemctl start lbnode"
    assert report.findings("probes") == []


def test_a_daemon_that_could_not_start_is_found_with_the_reason(fleet: Ward) -> None:
    config = fleet.node.directory / "lbnode.yaml"
    good = config.read_text()
    config.write_text(good.replace(f"unix:{fleet.node.directory / 'rpc.sock'}", "0.0.0.0:7946"))
    found = fleet.examine_node().finding(
        "daemon", "does not run, and cannot: listen on 0.0.0.0:7946: not loopback"
    )
    config.write_text(good)
    assert "set rpc.tls" in found["what"]


def test_a_backend_that_was_unloaded_takes_nothing(fleet: Ward) -> None:
    fleet.agents["b3"].kill()
    fleet.agents["b3"].wait()
    fleet.backends["b3"].unload()
    found = fleet.examine_backend("b3").finding("services", "nothing takes packets out of the tunnels")
    assert found["grade"] == "failure"
    assert fleet.examine_node().finding("probes", "to backend b3")["grade"] == "failure"
