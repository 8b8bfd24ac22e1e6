"""One lab for the whole session; tests that harm it put it right again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnode.lab import record, teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.plan import Plan
from lbnode.lab.running import RunningLab
from lbnode.lab.shell import inside

LBCTL = str(Path(sys.executable).with_name("lbctl"))
COMMAND_S = 100.0


def free_name(stem: str) -> str:
    """A lab's name that no other run of the tests on this machine uses."""
    return f"{stem}{os.getpid()}"


def lbctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run lbctl to its end."""
    return subprocess.run([LBCTL, *arguments], capture_output=True, text=True, timeout=COMMAND_S, check=False)


def on(lab: RunningLab, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a host of the lab to its end."""
    argv = inside(lab.plan.namespace(host), command)
    return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_S, check=False)


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    name = free_name("e2e")
    try:
        yield RunningLab(bring_up(Plan(name), print))
    finally:
        teardown.take_down(name)


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a lab that the test builds itself; whatever is left of it goes."""
    name = free_name("own")
    try:
        yield name
    finally:
        teardown.take_down(name)


def running(name: str) -> RunningLab:
    """A lab that is up."""
    return RunningLab(record.load(name))
