from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lbnode.cli import ctl_progress
from lbnode.cli.ctl import app
from tests.unit.rpc.cluster import MemoryCluster, served

Lbctl = Callable[..., "tuple[int, str, str]"]


class Hours:
    """Time that passes only when somebody waits; `events` happen one by one, each at a wait."""

    def __init__(self) -> None:
        self.at = 0.0
        self.events: list[Callable[[], object]] = []

    def now(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += seconds
        if self.events:
            self.events.pop(0)()


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    hours = Hours()
    monkeypatch.setattr(ctl_progress, "Clock", lambda: hours)
    return hours


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def address(cluster: MemoryCluster, tmp_path: Path) -> Iterator[str]:
    with served(cluster, tmp_path / "rpc.sock") as address:
        yield address


@pytest.fixture
def lbctl(address: str) -> Lbctl:
    """Run `lbctl` against the served cluster; returns exit status, stdout, stderr."""

    def run(*words: str, stdin: str | None = None) -> tuple[int, str, str]:
        result = CliRunner(env={"EVENKEEL_NODE": address, "COLUMNS": "120"}).invoke(app, words, input=stdin)
        return result.exit_code, result.stdout, result.stderr

    return run
