"""Process 1: starts the processes, waits for signals and for their ends, and does what `supervision` says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lbnode.container.errors import ContainerError
from lbnode.container.supervision import Command, End, Part, Say, Send, Start, Supervision

AWAITED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
HEARD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""What the processes must be able to hear, also when whoever started this one ignores it."""
LOG_VARIABLE = "EVENKEEL_LOG_JSON"
IDLE_S = 3600.0


class Supervisor:
    """Runs `commands` until the container is to end. Every orphan of the container is its child, and is reaped."""

    def __init__(self, commands: Mapping[Part, Sequence[str]]) -> None:
        self._commands = commands
        self._pids: dict[int, Part] = {}

    def run(self) -> int:
        """Return the container's exit status. Raises ContainerError when a process cannot be started at all."""
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        for part in sorted(self._commands, key=lambda part: part is Part.DAEMON):
            self._start(part)
        state = Supervision(frozenset(self._commands), time.monotonic())
        while True:
            for command in self._next(state):
                if isinstance(command, End):
                    return command.status
                self._do(command)

    def _next(self, state: Supervision) -> list[Command]:
        now = time.monotonic()
        patience_s = IDLE_S if state.wake_at is None else max(0.0, state.wake_at - now)
        came = signal.sigtimedwait(AWAITED, patience_s)
        now = time.monotonic()
        if came is None:
            return state.tick(now)
        if came.si_signo != signal.SIGCHLD:
            return state.asked_to_stop(now)
        commands: list[Command] = []
        for part, status in self._reap():
            commands += state.ended(part, status, now)
        return commands

    def _reap(self) -> list[tuple[Part, int]]:
        """Collect all that has ended; of the strangers among it nothing is said."""
        found: list[tuple[Part, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            part = self._pids.pop(pid, None)
            if part is not None:
                code = os.waitstatus_to_exitcode(status)
                found.append((part, code if code >= 0 else 128 - code))

    def _do(self, command: Command) -> None:
        match command:
            case Start(part):
                self._start(part)
            case Send(part, number):
                for pid, running in self._pids.items():
                    if running is part:
                        os.kill(pid, number)
            case Say(text):
                say(text)

    def _start(self, part: Part) -> None:
        argv = list(self._commands[part])
        try:
            pid = os.posix_spawnp(argv[0], argv, os.environ, setsigmask=(), setsigdef=HEARD)
        except OSError as error:
            raise ContainerError(
                f"start {' '.join(argv)}: {error.strerror}; correct the container's `command`"
            ) from error
        self._pids[pid] = part


def say(text: str) -> None:
    """Write a line to the container's log, in the daemons' form."""
    if os.environ.get(LOG_VARIABLE, "").lower() in ("", "0", "false", "no"):
        print(text, file=sys.stderr, flush=True)
        return
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    print(json.dumps({"event": text, "level": "warning", "timestamp": at}), file=sys.stderr, flush=True)
