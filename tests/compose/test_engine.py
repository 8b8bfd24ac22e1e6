"""The engine that the tests start is gone with them, also when they are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose import engine
from tests.compose.engine import Engine
from tests.compose.shell import run
from tests.integration.cable import eventually

STARTED_S = 60.0
UNTIL_KILLED = """
import time
from tests.compose import engine
with engine.started() as running:
    print(running.name, running.directory, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.timeout(300)


def left_of(started: Engine) -> list[str]:
    """What there is of an engine on this machine."""
    seen = {
        "namespace": run(["ip", "netns", "list"]).stdout,
        "cable": run(["ip", "link", "show"]).stdout,
        "firewall": run(["nft", "list", "tables"]).stdout,
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "processes": run(["ps", "-eo", "args"]).stdout,
        "control groups": "\n".join(map(str, Path("/sys/fs/cgroup").glob("*/*"))),
        "files": "\n".join(map(str, engine.PLACES.iterdir())),
    }
    return [where for where, text in seen.items() if started.name in text or str(started.directory) in text]


def test_an_engine_that_ends_leaves_nothing_on_this_machine() -> None:
    before = engine.FORWARDING.read_text()
    with engine.started(number=1) as started:
        assert "firewall" in left_of(started)
        assert started.docker("ps") != ""
    assert left_of(started) == []
    assert engine.FORWARDING.read_text() == before


def test_what_a_killed_run_has_left_is_taken_away_by_the_next_one() -> None:
    before = engine.FORWARDING.read_text()
    killed = subprocess.Popen([sys.executable, "-c", UNTIL_KILLED], stdout=subprocess.PIPE, text=True)
    try:
        assert killed.stdout is not None
        name, directory = killed.stdout.readline().split()
    finally:
        killed.kill()
        killed.communicate()
    started = Engine(name, Path(directory))
    assert "firewall" in left_of(started)
    engine.sweep()
    eventually("nothing is left", lambda: not left_of(started), STARTED_S)
    assert engine.FORWARDING.read_text() == before
