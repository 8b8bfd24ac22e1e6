"""Wheel and source distribution: whole, and good for a machine that has Python and libbpf and nothing else of ours."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import yaml

from tests.integration.installed.conftest import Release, build


def test_the_commands_work_from_an_empty_directory(release: Release, tmp_path: Path) -> None:
    for command in ("lbnode", "lbbackend", "lbctl"):
        done = release.run(command, "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert release.run("lbctl", "--version", cwd=tmp_path).stdout.startswith("lbctl ")


def test_the_compiled_programs_travel_inside(release: Release, tmp_path: Path) -> None:
    """The kernel takes them: without objects, or without the table builder, the doctor would say so."""
    settings = {
        "name": "n1",
        "fleet": "demo",
        "interface": "lo",
        "address": "127.0.0.1",
        "store": {"kind": "file", "path": str(tmp_path / "store")},
        "run_dir": str(tmp_path / "run"),
        "state_dir": str(tmp_path / "state"),
    }
    (tmp_path / "lbnode.yaml").write_text(yaml.safe_dump(settings))
    done = release.run("lbctl", "doctor", "--role", "node", "--config", "lbnode.yaml", "--json", cwd=tmp_path)
    kernel = next(each for each in json.loads(done.stdout)["examinations"] if each["matter"] == "kernel")
    assert (kernel["findings"], "takes the programs" in kernel["good"]) == ([], True)
    table = "from ring.fast import *; import ring.fast; print(ring.fast.__file__)"
    where = release.run("python", "-c", table, cwd=tmp_path).stdout
    assert str(release.environment) in where


def test_the_units_travel_inside_and_name_where_the_release_lies(release: Release, tmp_path: Path) -> None:
    done = release.run("lbctl", "systemd", "install", "node", "--root", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "etc/systemd/system/lbnode.service").read_text()
    assert f"ExecStart={release.environment}/bin/lbnode run" in unit


def test_the_source_distribution_builds_the_same_wheel(release: Release, tmp_path: Path) -> None:
    build(["tar", "-xzf", str(release.source)], tmp_path)
    (unpacked,) = tmp_path.iterdir()
    build([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")], unpacked)
    (rebuilt,) = (tmp_path / "dist").glob("*.whl")
    assert sorted(zipfile.ZipFile(rebuilt).namelist()) == sorted(zipfile.ZipFile(release.wheel).namelist())
