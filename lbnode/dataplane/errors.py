"""What can go wrong between the daemons and the kernel's BPF side: one base, each kind with its remedy."""

from __future__ import annotations

import errno
import os


class DataPlaneError(Exception):
    """Base of everything that `lbnode.dataplane` raises; the message reads as a path and names the remedy."""


class LibraryError(DataPlaneError):
    """libbpf is missing or too old."""


class RightsError(DataPlaneError):
    """The process may not do this to the kernel."""


class LoadError(DataPlaneError):
    """An object was not taken: by libbpf, by the verifier, or because the kernel lacks a feature."""


class MapError(DataPlaneError):
    """A map operation failed."""


class PinError(DataPlaneError):
    """A pin could not be made, opened or removed."""


class AttachError(DataPlaneError):
    """A program could not be attached to an interface."""


class CapacityError(DataPlaneError):
    """More is asked for than the maps were made for; the message names the setting to raise."""


class LayoutError(DataPlaneError):
    """Pinned maps were made by a release whose structures differ."""


RIGHTS_REMEDY = (
    "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (old container engines: CAP_SYS_ADMIN)"
)


def refused(code: int) -> bool:
    """True when the error number `code` means missing rights."""
    return code in (errno.EPERM, errno.EACCES)


def from_errno(kind: type[DataPlaneError], what: str, code: int, remedy: str = "") -> DataPlaneError:
    """Return the exception for error number `code` of operation `what`; missing rights get their own type."""
    if code == errno.EPERM:
        return RightsError(f"{what}: {os.strerror(code)}: {RIGHTS_REMEDY}")
    return kind(f"{what}: {os.strerror(code)}" + (f": {remedy}" if remedy else ""))
