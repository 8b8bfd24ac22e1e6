"""The ExaBGP process: started in a session of its own, found again by a later daemon, ended by file
descriptor.

A process is held by its pidfd, so that a number that the kernel gave to somebody else is never signalled.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bgp.errors import SpeakerError

TERMINATE_S = 3.0
"""How long a process may take to end on SIGTERM before SIGKILL."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process id and the time at which the process started (clock ticks since boot, proc(5)): unique
    together.
    """

    pid: int
    started_at: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the identity of the process that has this id now, or None."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        return cls(pid, int(stat.rpartition(")")[2].split()[19]))


class Process:
    """A running process, ours or one that an earlier daemon started."""

    def __init__(self, identity: Identity, pidfd: int) -> None:
        self.identity = identity
        self._pidfd = pidfd

    @classmethod
    def hold(cls, identity: Identity) -> Self | None:
        """Return the process, or None if it has ended."""
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError:
            return None
        if Identity.of(identity.pid) != identity:
            os.close(pidfd)
            return None
        process = cls(identity, pidfd)
        if not process.alive():
            process.release()
            return None
        return process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.identity.pid

    def alive(self) -> bool:
        """Say whether it still runs."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return not poller.poll(0)

    async def ended(self, timeout_s: float) -> bool:
        """Wait until it has ended, at most `timeout_s`; say whether it has."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(self._pidfd, over.set)
        try:
            await asyncio.wait_for(over.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._pidfd)
        return not self.alive()

    async def terminate(self) -> None:
        """End it: SIGTERM, and SIGKILL if that does not help in `TERMINATE_S`. Raises SpeakerError if
        nothing does.
        """
        self._signal(signal.SIGTERM)
        if await self.ended(TERMINATE_S):
            return
        self._signal(signal.SIGKILL)
        if not await self.ended(TERMINATE_S):
            raise SpeakerError(
                f"end exabgp (pid {self.pid}): it survives SIGKILL: see its state in /proc/{self.pid}"
            )

    def release(self) -> str:
        """Let go of it, reap it if it is our child and has ended; return how it ended, as far as we can
        know.
        """
        os.close(self._pidfd)
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "ended"
        if pid == 0:
            return "still running"
        code = os.waitstatus_to_exitcode(status)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass


def spawn(command: Sequence[str], environment: Mapping[str, str], output: Path) -> Process:
    """Start `command` in a session of its own, standard output and error going to `output` (emptied first).

    It inherits nothing of the daemon but its namespaces, limits and rights, and is not ended with it.
    Raises SpeakerError.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(command[0], [*command], environment, file_actions=actions, setsid=True)
    except OSError as error:
        raise SpeakerError(f"start {command[0]}: {error.strerror}") from error
    identity = Identity.of(pid)
    assert identity is not None  # Until it is reaped, a child that has ended still has its number.
    return Process(identity, os.pidfd_open(pid))


def remember(path: Path, identity: Identity) -> None:
    """Write the pid file, atomically. Raises SpeakerError."""
    aside = path.with_suffix(".new")
    try:
        aside.write_text(json.dumps({"pid": identity.pid, "started_at": identity.started_at}))
        aside.replace(path)
    except OSError as error:
        raise SpeakerError(f"write {path}: {error.strerror}") from error


def recall(path: Path) -> Process | None:
    """Return the process that the pid file names, if it still runs; a file that says nothing useful names
    nobody.
    """
    try:
        fields = json.loads(path.read_text())
        identity = Identity(int(fields["pid"]), int(fields["started_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Process.hold(identity)
