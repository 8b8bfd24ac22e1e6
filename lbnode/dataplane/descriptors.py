"""File descriptors of BPF things: pinned, opened again, asked about, closed."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_uint32
from pathlib import Path
from typing import Any

from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.errors import RIGHTS_REMEDY, DataPlaneError, PinError, from_errno


def close(fd: int) -> None:
    """Close `fd`; negative ones are closed already."""
    if fd >= 0:
        os.close(fd)


def pin(fd: int, path: Path, what: str) -> None:
    """Pin `fd` at `path`, which must be on bpffs and free; raises PinError."""
    if abi.library().bpf_obj_pin(fd, os.fsencode(path)):
        reason = os.strerror(ctypes.get_errno())
        raise PinError(
            f"pin {what} at {path}: {reason}: the path must be free, on a mounted bpffs, {RIGHTS_REMEDY}"
        )


def open_pinned(path: Path) -> int:
    """Return a descriptor of what is pinned at `path`; raises PinError."""
    fd = int(abi.library().bpf_obj_get(os.fsencode(path)))
    if fd < 0:
        raise from_errno(PinError, f"open pin {path}", ctypes.get_errno())
    return fd


def ask(fd: int, info: Any) -> Any:
    """Fill the structure `info` with what the kernel says of `fd`, and return it."""
    size = c_uint32(ctypes.sizeof(info))
    if abi.library().bpf_obj_get_info_by_fd(fd, byref(info), byref(size)):
        raise from_errno(DataPlaneError, f"read kernel's information on fd {fd}", ctypes.get_errno())
    return info
