"""What `make bench` measures is what it says: the driver's packets, forwarded as the model says."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lbnode.dataplane.values import Limits
from tests.bench.clock import Driver, Traffic
from tests.bench.fleet import make_fleet
from tests.bench.packets import SCENES, Scene, check, filled


@pytest.fixture(scope="module")
def driver() -> Driver:
    return Driver()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_measured_packets_are_forwarded_as_the_model_says(driver: Driver, scene: Scene) -> None:
    fleet = make_fleet(scene.shape)
    with filled(fleet, scene.limits) as node:
        for traffic in scene.traffic:
            driver.set_traffic(traffic)
            check(driver, node, fleet, traffic)


def test_a_program_that_leaves_packets_as_they_are_is_not_measured(driver: Driver) -> None:
    driver.set_traffic(Traffic("not for us", bytes(64), 1, 1))
    with (
        filled(make_fleet(), Limits()) as node,
        pytest.raises(AssertionError, match="node changed the length of 0 of 100 packets"),
    ):
        driver.run(node.program, 100)


KILLED = """
import os, signal
from lbnode.dataplane.values import Limits
from tests.bench.fleet import make_fleet
from tests.bench.mounts import keep_mounts_private
from tests.bench.packets import filled

def mounts():
    return {line.split()[4] for line in open("/proc/self/mountinfo") if "evenkeel-bench-" in line}

keep_mounts_private()
others = mounts()
with filled(make_fleet(), Limits()):
    print(*(mounts() - others), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_bench_that_is_killed_leaves_no_mount_and_no_directory() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    mounted = ended.stdout.strip()
    assert mounted
    assert mounted not in Path("/proc/self/mountinfo").read_text()
    assert not Path(mounted).exists()
