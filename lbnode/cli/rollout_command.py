"""The operator's command that a rollout runs for each backend."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass

from lbnode.cli.rollout_order import Target


@dataclass(frozen=True, slots=True)
class RunningCommand:
    """A command under way for `target`; `text` is what the shell was given."""

    target: Target
    text: str
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


def start_command(command: str, target: Target) -> RunningCommand:
    """Give `command` to the shell, with `{name}` and `{address}` those of `target`, which are in its environment, too.

    Nothing else is replaced: braces of the shell and of awk stay what they are.
    """
    name, address = str(target.name), str(target.address or "")
    text = command.replace("{name}", shlex.quote(name)).replace("{address}", shlex.quote(address))
    environment = {"EVENKEEL_BACKEND": name, "EVENKEEL_ADDRESS": address}
    return RunningCommand(target, text, subprocess.Popen(text, shell=True, env=os.environ | environment))
