"""The operator's command that a rollout runs for each backend."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass

from lbnode.cli.rollout_order import Target


@dataclass(frozen=True, slots=True)
class RunningCommand:
    """A command under way for `target`."""

    target: Target
    process: subprocess.Popen[bytes]

    def finish(self, timeout_s: float) -> str:
        """Wait for the end; returns what went wrong, or an empty string."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"the command for {self.target.name} was stopped after {timeout_s:g} s"
        return f"the command for {self.target.name} ended with status {status}" if status else ""


def fill_in(command: str, target: Target) -> str:
    """Return `command` with `{name}` and `{address}` of `target`, quoted for the shell.

    Nothing else is replaced: braces of the shell and of awk stay what they are.
    """
    text = command.replace("{name}", shlex.quote(target.name))
    return text.replace("{address}", shlex.quote(str(target.address or "")))


def start_command(text: str, target: Target) -> RunningCommand:
    """Give `text` to the shell, with the backend's name and address in its environment."""
    environment = {"EVENKEEL_BACKEND": target.name, "EVENKEEL_ADDRESS": str(target.address or "")}
    return RunningCommand(target, subprocess.Popen(text, shell=True, env=os.environ | environment))
