"""Waiting until no packet can still see what was current before: an RCU grace period, asked for from user space.

XDP programs run under RCU. MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c): it returns when
every packet that was under way at the call has left the program. It takes about 8 ms, so it is asked for beside what
else is done, as soon as something has gone out of use: only changes in quick succession have to wait for it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from contextlib import suppress
from threading import Thread

from lbnode.dataplane.errors import DataPlaneError, from_errno

_SYSCALL = {"x86_64": 324, "aarch64": 283, "riscv64": 283}
_MEMBARRIER_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Grace:
    """Grace periods, counted by what waits for them: each `retire` gets a number."""

    def __init__(self) -> None:
        self._retired = 0
        self._thread: Thread | None = None
        self.passed = 0
        """What has this number or a lower one may be written again."""

    def retire(self) -> int:
        """Return a number for memory that no packet finds any more, but those under way may still read.

        A grace period for it begins at once, beside what the caller does.
        """
        self._retired += 1
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._pass, name="grace period", daemon=True)
            self._thread.start()
        return self._retired

    def _pass(self) -> None:
        """Wait until all has passed; a kernel that refuses is heard of by who waits."""
        with suppress(DataPlaneError):
            while self.passed < self._retired:
                self.wait()

    def wait(self) -> None:
        """Return after a grace period that begins now; about 8 ms."""
        retired = self._retired
        _synchronize()
        self.passed = max(self.passed, retired)

    def ensure_after(self, number: int) -> None:
        """Return once what has this number may be written again: at once when a grace period has passed since."""
        if self._thread is not None and self.passed < number:
            self._thread.join()
        if self.passed < number:
            self.wait()

    def ensure_all(self) -> None:
        """Return once all that was retired may be written again."""
        self.ensure_after(self._retired)


def _synchronize() -> None:
    machine = platform.machine()
    number = _SYSCALL.get(machine)
    if number is None:
        raise DataPlaneError(f"grace period: the number of membarrier on {machine} is not known")
    if _libc.syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0):
        code = ctypes.get_errno()
        remedy = "the kernel runs with nohz_full, which rules membarrier out" if code == errno.EINVAL else ""
        raise from_errno(DataPlaneError, "grace period: membarrier", code, remedy)
