"""Commands of the test, run to their end, with what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(AssertionError):
    """A command failed; the message has its last words."""


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; raises CommandError when it fails and `check` is set."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(environment or {})},
        cwd=directory,
        check=False,
    )
    if check and done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise CommandError(f"{' '.join(words)}: status {done.returncode}: " + "\n".join(said))
    return done
