"""`lbctl` starts in half the time without what only daemons and few of its commands need."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT = "import sys, lbnode.cli.ctl; print(*sys.modules)"


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that are loaded before any command is chosen."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("library", ["cryptography", "pydantic_settings", "pyroute2", "structlog"])
def test_no_command_waits_for_a_library_of_others(loaded: set[str], library: str) -> None:
    assert "lbnode.cli.ctl" in loaded
    assert library not in loaded
