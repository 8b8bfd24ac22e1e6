"""`lbctl` as a person meets it: a process on a terminal, which asks before it changes the fleet."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lbnode.settings.fleet_text import write_fleet
from tests.unit.core.fleets import fleet
from tests.unit.rpc.cluster import MemoryCluster, served

LBCTL = [sys.executable, "-c", "from lbnode.cli.ctl import main; main()"]


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody at a terminal, with a served fleet and a fleet.yaml that drops b3."""

    cluster: MemoryCluster
    environment: dict[str, str]
    file: Path

    def type(self, answer: str, *words: str, **environment: str) -> tuple[int, str]:
        """Run `lbctl` on a terminal, answer its question; returns exit status and what the screen showed."""
        terminal, side = pty.openpty()
        with subprocess.Popen(
            [*LBCTL, *words],
            stdin=side,
            stdout=side,
            stderr=side,
            env=self.environment | environment,
            start_new_session=True,
        ) as process:
            os.close(side)
            os.write(terminal, answer.encode())
            screen = b"".join(iter(lambda: _read(terminal), b""))
            status = process.wait(30)
        os.close(terminal)
        return status, screen.decode()


def _read(terminal: int) -> bytes:
    """The screen's next bytes; Linux reports EIO when the other side has closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Seat]:
    cluster = MemoryCluster()
    file = tmp_path / "fleet.yaml"
    file.write_text(write_fleet(fleet("b1", "b2")))
    with served(cluster, tmp_path / "rpc.sock") as address:
        environment = {**os.environ, "EVENKEEL_NODE": address, "TERM": "xterm", "COLUMNS": "120"}
        environment.pop("NO_COLOR", None)
        yield Seat(cluster, environment, file)


def test_no_means_that_nothing_is_changed(seat: Seat) -> None:
    status, screen = seat.type("n\n", "apply", "-f", str(seat.file))
    assert status == 1
    assert "- backend b3" in screen
    assert "Apply this? [y/N]" in screen
    assert "nothing was changed" in screen
    assert seat.cluster.view.desired == fleet("b1", "b2", "b3")


def test_yes_applies(seat: Seat) -> None:
    status, screen = seat.type("y\n", "apply", "-f", str(seat.file))
    assert (status, "applied" in screen) == (0, True)
    assert seat.cluster.view.desired == fleet("b1", "b2")


def test_with_yes_nobody_is_asked(seat: Seat) -> None:
    status, screen = seat.type("", "apply", "-f", str(seat.file), "--yes")
    assert status == 0
    assert "Apply this?" not in screen


def test_a_terminal_gets_colours_unless_it_says_no(seat: Seat) -> None:
    assert "\x1b[" in seat.type("", "status")[1]
    assert "\x1b" not in seat.type("", "status", NO_COLOR="1")[1]


def test_removing_a_backend_that_still_has_flows_asks_first(seat: Seat) -> None:
    seat.cluster.join("b1", "b2", "b3")
    seat.cluster.count(b2=212)
    seat.type("", "backend", "drain", "b2")
    status, screen = seat.type("n\n", "backend", "remove", "b2")
    assert status == 1
    assert "b2 still holds 212 flows, which break. Remove it? [y/N]" in screen
    assert "nothing was changed" in screen
    assert seat.cluster.view.desired == fleet("b1", "b2", "b3")
    status, screen = seat.type("y\n", "backend", "remove", "b2")
    assert status == 0
    assert "- backend b2" in screen


def test_a_wait_is_live_on_a_terminal(seat: Seat) -> None:
    seat.cluster.join("b1", "b2", "b3")
    seat.cluster.count(b2=212)
    status, screen = seat.type("", "backend", "drain", "b2", "--wait", "--timeout", "1s")
    assert status == 1
    assert "drain b2: 212 flows left (" in screen
    assert "error: drain b2: 212 flows left after 1s" in screen


def test_a_rollout_without_a_command_asks_the_operator_to_act(seat: Seat) -> None:
    seat.cluster.join("b1", "b2", "b3")
    seat.cluster.count(b1=0, b2=0, b3=0)
    status, screen = seat.type("\n", "rollout", "web", "--from", "b3")
    assert status == 0
    assert "b3 can be restarted now; press Enter when it is done" in screen
    assert "rollout of web done: b3" in screen
