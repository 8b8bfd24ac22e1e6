"""One lab for the whole session; tests that harm it put it right again."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lbnode.lab import teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.plan import Plan
from lbnode.lab.running import RunningLab


def free_name(stem: str) -> str:
    """A lab's name that no other run of the tests on this machine uses."""
    return f"{stem}{os.getpid()}"


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    name = free_name("e2e")
    try:
        yield RunningLab(bring_up(Plan(name), print))
    finally:
        teardown.take_down(name)
