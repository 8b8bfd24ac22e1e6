"""The doctor on a backend's machine: kernel settings that somebody changed back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lbnode.backend.host import wanted_sysctls
from lbnode.netdev import sysctls
from tests.integration import cable as cables
from tests.integration.cable import Cable, inside
from tests.integration.doctor.bedside import Report, examined_backend


@pytest.fixture
def cable() -> Iterator[Cable]:
    """A machine whose agent has set what it needs."""
    with cables.laid() as laid:
        inside(laid.near, lambda: sysctls.write_all(wanted_sysctls("eth0")))
        yield laid


def doctor(cable: Cable, directory: Path, address: str = "10.0.0.2") -> Report:
    settings = {
        "name": "b1",
        "fleet": "demo",
        "address": address,
        "interface": "eth0",
        "store": {"kind": "file", "path": str(directory / "store")},
        "state_dir": str(directory / "state"),
        "run_dir": str(directory / "run"),
    }
    config = directory / "lbbackend.yaml"
    config.write_text(yaml.safe_dump(settings))
    return examined_backend(cable.near, config)


@pytest.mark.parametrize("name", sorted(wanted_sysctls("eth0")))
def test_a_setting_that_was_changed_back_is_found_and_mended(cable: Cable, tmp_path: Path, name: str) -> None:
    wanted = wanted_sysctls("eth0")[name]
    assert doctor(cable, tmp_path).findings("sysctls") == []
    inside(cable.near, lambda: sysctls.write(name, "1" if wanted != "1" else "0"))
    found = doctor(cable, tmp_path).finding("sysctls", name.replace("/", "."))
    command = ["ip", "netns", "exec", cable.near, *found["mend"].split()]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    assert doctor(cable, tmp_path).findings("sysctls") == []


def test_settings_with_the_address_of_another_machine_are_found(cable: Cable, tmp_path: Path) -> None:
    assert doctor(cable, tmp_path).findings("addresses") == []
    found = doctor(cable, tmp_path, "10.0.0.1").finding("addresses", "address 10.0.0.1: is on no interface")
    assert (found["grade"], found["why"]) == ("failure", "nothing that nodes send to it arrives here")
