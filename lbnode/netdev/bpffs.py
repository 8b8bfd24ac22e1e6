"""BPF file systems: where pinned programs, maps and links live on when their daemon is gone."""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from lbnode.netdev.errors import NetdevError

BPF_FS_MAGIC = 0xCAFE4A11
MNT_DETACH = 2
FILE_SYSTEMS = Path("/proc/filesystems")

_libc = ctypes.CDLL(None, use_errno=True)


def mount(directory: Path) -> bool:
    """Mount a BPF file system at `directory`, which is made when missing.

    Returns False when one is there already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if is_mounted(directory):
        return False
    mode = f"mode={stat.S_IRWXU:o}".encode()
    if _libc.mount(b"bpf", os.fsencode(directory), b"bpf", 0, mode) != 0:
        raise _failure(
            "mount bpffs on", directory, "needs CAP_SYS_ADMIN and a kernel with CONFIG_BPF_SYSCALL"
        )
    return True


def unmount(directory: Path) -> bool:
    """Unmount the BPF file system at `directory`; its pins go with it.

    Returns False when none is mounted there.
    """
    if not is_mounted(directory):
        return False
    if _libc.umount2(os.fsencode(directory), MNT_DETACH) != 0:
        raise _failure("unmount bpffs from", directory, "needs CAP_SYS_ADMIN")
    return True


def is_known() -> bool:
    """True when the kernel has BPF file systems at all."""
    return any(line.split()[-1] == "bpf" for line in FILE_SYSTEMS.read_text().splitlines())


def is_mounted(directory: Path) -> bool:
    """True when `directory` is itself the root of a BPF file system."""
    return directory.is_dir() and os.path.ismount(directory) and _magic(directory) == BPF_FS_MAGIC


def _magic(directory: Path) -> int:
    """The file system's type number; the first word of struct statfs on every 64-bit Linux."""
    record = (ctypes.c_long * 32)()
    if _libc.statfs(os.fsencode(directory), ctypes.byref(record)) != 0:
        raise _failure("look at", directory, "")
    return record[0] & 0xFFFFFFFF


def _failure(verb: str, directory: Path, remedy: str) -> NetdevError:
    reason = os.strerror(ctypes.get_errno())
    return NetdevError(f"{verb} {directory}: {reason}" + (f"; {remedy}" if remedy else ""))
