"""The release as a stranger gets it: built, and installed into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD_S = 300


@dataclass(frozen=True, slots=True)
class Release:
    """A wheel, a source distribution, and the environment that the wheel was installed into."""

    wheel: Path
    source: Path
    environment: Path

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in `cwd`, with nothing on the path but what Debian's base system has."""
        command = [str(self.environment / "bin" / words[0]), *words[1:]]
        variables = {"PATH": "/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        return subprocess.run(
            command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=BUILD_S, check=False
        )


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Built from this clone, and installed without a compiler in reach."""
    folder = tmp_path_factory.mktemp("release")
    build([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], ROOT)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    environment = folder / "environment"
    build(["/usr/bin/python3", "-m", "venv", "--without-pip", str(environment)], folder)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "-q"]
    quick = ["--no-compile", "--disable-pip-version-check", "--only-binary=:all:"]
    build([*pip, *quick, "-c", str(ROOT / "constraints.txt"), str(wheel)], folder, {"PATH": "/nowhere"})
    return Release(wheel, source, environment)


def build(command: list[str], cwd: Path, variables: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
