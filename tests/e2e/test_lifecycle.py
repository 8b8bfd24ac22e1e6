"""Labs come and go: side by side, interrupted at any point, and never leaving anything behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from lbnode.lab import namespaces, record, teardown
from lbnode.lab.demo import LAB
from lbnode.lab.drill import run_drill
from lbnode.lab.events import KillDaemon
from lbnode.lab.plan import VIP
from lbnode.lab.report import Verdict
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.screen import Silence
from tests.e2e.conftest import COMMAND_S, LBCTL, lbctl, on, running


def building(name: str) -> subprocess.Popen[str]:
    """`lab up`, under way."""
    return subprocess.Popen(
        [LBCTL, "lab", "up", "--name", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def has_network(name: str) -> bool:
    return bool(namespaces.of_lab(name))


def has_daemons(name: str) -> bool:
    nodes = [space for space in namespaces.of_lab(name) if space.endswith("-n1")]
    return bool(namespaces.processes_in(nodes))


def has_fleet(name: str) -> bool:
    return (record.directory(name) / "fleet.yaml").exists()


@pytest.mark.parametrize("point", [has_network, has_daemons, has_fleet])
def test_what_a_killed_build_leaves_is_taken_apart(name: str, point: Callable[[str], bool]) -> None:
    with building(name) as process:
        wait_until(lambda: point(name), 30, "get that far")
        process.kill()
        process.wait()
    assert teardown.leftovers(name)

    ended = lbctl("lab", "down", "--name", name)

    assert (ended.returncode, ended.stdout) == (0, f"lab {name}: taken apart\n"), ended.stderr
    assert teardown.leftovers(name) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("point", [has_network, has_daemons])
def test_an_interrupted_build_takes_itself_apart(
    name: str, point: Callable[[str], bool], number: signal.Signals
) -> None:
    with building(name) as process:
        wait_until(lambda: point(name), 30, "get that far")
        process.send_signal(number)
        output, _ = process.communicate(timeout=COMMAND_S)

    assert process.returncode == 130, output
    assert teardown.leftovers(name) == []


def test_a_build_after_a_killed_one_starts_afresh_and_two_labs_live_side_by_side(
    name: str, lab: RunningLab
) -> None:
    with building(name) as process:
        wait_until(lambda: has_daemons(name), 30, "get that far")
        process.kill()

    ended = lbctl("lab", "up", "--name", name, "--nodes", "1", "--backends", "1", "--store", "file")

    assert ended.returncode == 0, ended.stderr
    other = running(name)
    assert on(other, "client", "curl", "-sS", "-m", "5", f"http://{VIP}/").stdout == "b1\n"
    assert on(lab, "client", "curl", "-sS", "-m", "5", f"http://{VIP}/").stdout.startswith("b")
    assert lbctl("lab", "down", "--name", name).returncode == 0
    assert on(lab, "client", "curl", "-sS", "-m", "5", f"http://{VIP}/").stdout.startswith("b")


def test_a_fleet_of_one_loses_nothing_when_its_daemon_is_killed(name: str) -> None:
    assert lbctl("lab", "up", "--name", name, "--nodes", "1", "--backends", "2").returncode == 0
    lab = running(name)
    (node,) = lab.nodes

    report = run_drill(lab, [KillDaemon(node)], 100, Silence())

    assert report.broken == 0
    assert report.longest_stall_s < 0.5
    assert report.verdict is Verdict.NOTHING


def test_an_interrupted_drill_of_its_own_lab_leaves_nothing(name: str) -> None:
    command = [LBCTL, "lab", "drill", "nodes", "--name", name, "--flows", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_until(lambda: _flows_run(name), 60, "open flows")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=COMMAND_S)

    assert process.returncode == 130, output
    assert teardown.leftovers(name) == []


def _flows_run(name: str) -> bool:
    clients = [space for space in namespaces.of_lab(name) if "-client" in space]
    return bool(namespaces.processes_in(clients))


@pytest.mark.timeout(180)
def test_the_demo_says_in_its_last_line_that_no_flow_broke_and_leaves_nothing() -> None:
    began = time.monotonic()

    ended = subprocess.run(
        [sys.executable, "-m", "lbnode.lab.demo"],
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "demo: 500 flows, 0 broken"
    assert time.monotonic() - began < 60
    assert teardown.leftovers(LAB) == []
