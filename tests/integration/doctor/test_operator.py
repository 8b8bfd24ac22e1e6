"""The doctor on an operator's machine: what is wrong with the fleet, by the word of one of its nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cable import eventually
from tests.integration.doctor.bedside import DOCTOR_S, LBCTL, Report
from tests.integration.nodes import NodeMachine, node_machine

FLEET = {
    "fleet": "demo",
    "backends": [{"name": "b1", "address": "10.0.0.1"}],
    "pools": [{"name": "web", "backends": ["b1"], "table_size": 251}],
    "vips": [{"address": "192.0.2.80", "port": 80, "pool": "web"}],
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeMachine]:
    """A node whose only backend has no agent."""
    with node_machine(tmp_path_factory.mktemp("node")) as made:
        made.start()
        made.apply(FLEET)
        eventually("the node knows its pool", lambda: made.status().pools)
        yield made


def doctor(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it as an operator does, on a machine without settings."""
    command = [LBCTL, "--node", f"unix:{directory / 'rpc.sock'}", "doctor", "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=DOCTOR_S, check=False)


def test_what_is_wrong_with_the_fleet_is_found_with_its_remedy(machine: NodeMachine) -> None:
    ended = doctor(machine.directory)
    report = Report(json.loads(ended.stdout))
    assert (ended.returncode, report.document["subject"]) == (1, "fleet demo")
    assert report.finding("fleet", "pool web: has no active backend")["grade"] == "failure"
    awaited = report.finding("fleet", "gets no flows before its agent is connected")
    assert (awaited["grade"], awaited["mend"].startswith("start lbbackend on 10.0.0.1")) == ("warning", True)


def test_a_fleet_that_does_not_answer_has_a_status_of_its_own(tmp_path: Path) -> None:
    ended = doctor(tmp_path)
    assert ended.returncode == 3
    assert "no lbnode answers" in ended.stderr
