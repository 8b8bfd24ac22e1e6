"""Linux inotify(7): events of a directory as they happen, on a descriptor that an event loop can wait for.

The standard library has no inotify, and watchers that poll cost either latency or a core; this is four calls
to libc.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

_EVENT = struct.Struct("iIII")
_READ_SIZE = 64 * 1024


class Mask(IntFlag):
    """The event bits of linux/inotify.h that are used here."""

    MODIFY = 0x2
    CLOSE_WRITE = 0x8
    MOVED_TO = 0x80
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x1000000


GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED
"""Any of these: the watched directory is no longer where it was."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to `name` (empty: to the directory itself) in the directory of `watch`."""

    watch: int
    mask: Mask
    name: str


class Inotify:
    """One inotify instance. Close it."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _failure("inotify_init1 (raise fs.inotify.max_user_instances)")

    def watch(self, folder: Path, mask: Mask) -> int:
        """Begin to report `mask` for a directory; return the watch's number."""
        number: int = self._libc.inotify_add_watch(self.fd, os.fsencode(folder), int(mask | Mask.ONLYDIR))
        if number < 0:
            raise _failure(f"inotify watch {folder} (if out of space, raise fs.inotify.max_user_watches)")
        return number

    def read(self) -> list[Event]:
        """Return the events that wait, without blocking."""
        try:
            data = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return []
        return _parse(data)

    def close(self) -> None:
        """End all watches."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _parse(data: bytes) -> list[Event]:
    events, at = [], 0
    while at < len(data):
        watch, mask, _cookie, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
        at += length
        events.append(Event(watch, Mask(mask & 0xFFFFFFFF), name))
    return events


def _failure(what: str) -> OSError:
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, f"{what}: {os.strerror(number)}")
