"""One engine and one set of images for the session."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.compose import base, engine
from tests.compose.engine import Engine
from tests.compose.project import CLONE, Project

BUILD_S = 600.0
SECURE = "docker-compose.yml:deploy/compose.secure.yml"
STAGES = (("node", "zk1", "router", "client"), ("backend", "certs", "zk2", "zk3"))
"""What is built at once: the second ones begin where the first ones have been."""

FLEET_FILE = CLONE / "deploy/compose/fleet.yaml"


@dataclass(slots=True)
class Timings:
    """What took how long; told at the end of the session."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0

    def measured(self, what: str, began: float) -> float:
        """Note that `what` has taken from `began` (monotonic clock) until now; return how long."""
        self.seconds[what] = time.monotonic() - began
        return self.seconds[what]


TIMINGS = Timings()


@pytest.fixture(scope="session")
def timings() -> Timings:
    return TIMINGS


@pytest.fixture(scope="session")
def docker(timings: Timings) -> Iterator[Engine]:
    with engine.started() as running:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            running.import_image(base.archive(Path(scratch)), base.IMAGE)
        timings.measured("the base image, of Debian's packages", began)
        yield running


@pytest.fixture(scope="session")
def images(docker: Engine, timings: Timings) -> Engine:
    """The engine, with every image of the compose file built from this clone."""
    began = time.monotonic()
    building = Project(docker, variables={"COMPOSE_FILE": SECURE})
    for services in STAGES:
        building.compose("build", "--quiet", "--parallel", *services, timeout_s=BUILD_S)
    timings.measured("build all images, none cached", began)
    return docker


@pytest.fixture
def project(images: Engine, tmp_path: Path) -> Iterator[Project]:
    """The compose file's fleet, with a copy of its fleet.yaml in `tmp_path`, which tests may write."""
    shutil.copy(FLEET_FILE, tmp_path)
    project = Project(images, variables={"EVENKEEL_FLEET_DIR": str(tmp_path)})
    try:
        yield project
    finally:
        project.down()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TIMINGS.seconds:
        terminalreporter.section("compose: what took how long")
        for what, seconds in TIMINGS.seconds.items():
            terminalreporter.write_line(f"{seconds:7.1f} s  {what}")
