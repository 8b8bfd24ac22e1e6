"""Waiting until no packet can still see what was current before: an RCU grace period, asked for from user space.

XDP programs run under RCU. MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c): it returns when
every packet that was under way at the call has left the program. It takes about 8 ms, so it is asked for as late as
possible: only when memory that was in use is about to be written again, and once for all that was retired before.
"""

from __future__ import annotations

import ctypes
import errno
import platform

from lbnode.dataplane.errors import DataPlaneError, from_errno

_SYSCALL = {"x86_64": 324, "aarch64": 283, "riscv64": 283}
_MEMBARRIER_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Grace:
    """Counts grace periods: what was retired in period n may be reused in any later one."""

    def __init__(self) -> None:
        self.period = 0

    def wait(self) -> None:
        """Return after a grace period; about 8 ms."""
        machine = platform.machine()
        number = _SYSCALL.get(machine)
        if number is None:
            raise DataPlaneError(f"grace period: the number of membarrier on {machine} is not known")
        if _libc.syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0):
            code = ctypes.get_errno()
            remedy = (
                "the kernel runs with nohz_full, which rules membarrier out" if code == errno.EINVAL else ""
            )
            raise from_errno(DataPlaneError, "grace period: membarrier", code, remedy)
        self.period += 1

    def ensure_after(self, period: int) -> None:
        """Return once a grace period has passed since `period`; at once when one has."""
        if self.period <= period:
            self.wait()
