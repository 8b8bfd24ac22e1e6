"""Mounts of the bench's own: whatever ends it, SIGKILL included, no mount and no directory stays on the machine."""

from __future__ import annotations

import ctypes
import os
import tempfile

_PLACE = "/sys/fs/bpf"
"""There on every machine that can run the bench, and of no other use to it."""

_CLONE_NEWNS = 0x20000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def keep_mounts_private() -> None:
    """Go on in a mount namespace of this process alone, with a temporary directory that ends with it.

    The namespace is the calling thread's, and that of whatever it starts afterwards.
    Raises OSError without CAP_SYS_ADMIN.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare the mounts")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "make / private")
    _check(_libc.mount(b"tmpfs", os.fsencode(_PLACE), b"tmpfs", 0, None), f"mount tmpfs on {_PLACE}")
    tempfile.tempdir = _PLACE


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}; it needs CAP_SYS_ADMIN")
