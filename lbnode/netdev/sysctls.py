"""Kernel settings of the network namespace that the daemon runs in, under /proc/sys."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from lbnode.netdev.errors import NetdevError, ReadOnlyError

ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """Return a setting's value.

    `name` has slashes (`net/ipv4/conf/eth0.7/rp_filter`): interface names hold dots.
    """
    path = _path(name)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise NetdevError(f"read sysctl {name}: {os.strerror(error.errno or 0)}") from error


def write(name: str, value: str) -> str:
    """Set `name` to `value` and return what it was before.

    Nothing is written when it has that value already. Raises NetdevError, ReadOnlyError where nothing can be set.
    """
    before = read(name)
    if before == value:
        return before
    try:
        _path(name).write_text(value)
    except OSError as error:
        kind = ReadOnlyError if error.errno == errno.EROFS else NetdevError
        raise kind(
            f"write sysctl {name} = {value}: {os.strerror(error.errno or 0)}; in a container set it from "
            f"outside (compose: `sysctls:`, docker: --sysctl {name.replace('/', '.')}={value})"
        ) from error
    return before


def write_all(wanted: Mapping[str, str]) -> dict[str, str]:
    """Set all of `wanted`; return the earlier values of those that changed."""
    before = {name: write(name, value) for name, value in wanted.items()}
    return {name: value for name, value in before.items() if value != wanted[name]}


def exists(name: str) -> bool:
    """True when the kernel has a setting of that name: those of an interface go with the interface."""
    return _path(name).exists()


def _path(name: str) -> Path:
    if name.startswith("/") or ".." in name.split("/"):
        raise NetdevError(f"sysctl {name}: not a path below {ROOT}")
    return ROOT / name
