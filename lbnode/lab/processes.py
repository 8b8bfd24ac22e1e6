"""Daemons of a lab: started in a namespace and a session of their own, found again by any later command."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lbnode.lab.errors import LabError
from lbnode.lab.shell import environment, inside

KILL_WAIT_S = 5.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A started daemon. Id and start time together name it, for ids are used again.

    `started_at` is in clock ticks since boot (proc_pid_stat(5), field 22): no change of the clock moves it.
    """

    pid: int
    started_at: int
    log: str


def start(namespace: str, argv: Sequence[str], log: Path) -> Process:
    """Start `argv` in a namespace, detached; what it prints goes to the end of `log`."""
    command = inside(namespace, argv)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        command,
        {**environment(), "PYTHONUNBUFFERED": "1"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
    )
    found = _look(pid)
    if found is None:
        raise LabError(f"start {argv[0]}: it ended at once: {tail(log)}")
    return Process(pid, found.started_at, str(log))


def is_alive(process: Process) -> bool:
    """True while the very process that was started runs; a zombie does not."""
    found = _look(process.pid)
    return found is not None and not found.ended and found.started_at == process.started_at


def kill(process: Process) -> None:
    """End a started process with SIGKILL and wait for its end; one that is gone already is fine."""
    if is_alive(process):
        kill_all([process.pid])


def kill_all(pids: Sequence[int]) -> None:
    """SIGKILL every process of `pids` and wait for their end. Raises LabError when one will not go."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + KILL_WAIT_S
    while left := [pid for pid in pids if not _gone(pid)]:
        if time.monotonic() > deadline:
            raise LabError(f"kill {left}: still there after {KILL_WAIT_S:g} s")
        time.sleep(POLL_S)


def tail(log: str | Path, lines: int = 5) -> str:
    """The last lines of a log, on one line: for messages."""
    try:
        text = Path(log).read_text(errors="replace")
    except OSError:
        return "no log"
    return " | ".join(text.strip().splitlines()[-lines:]) or "its log is empty"


def _gone(pid: int) -> bool:
    """Reap `pid` where it is a child of ours, and tell whether it has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    found = _look(pid)
    return found is None or found.ended


@dataclass(frozen=True, slots=True)
class _Look:
    """What the kernel says of a process; one that has ended may wait for its parent to hear of it."""

    ended: bool
    started_at: int


def _look(pid: int) -> _Look | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return _Look(fields[0] in "ZX", int(fields[19]))
