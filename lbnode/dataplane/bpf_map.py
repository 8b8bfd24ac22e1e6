"""Kernel maps: read and written one by one and as memory."""

from __future__ import annotations

import ctypes
import errno
import mmap
from pathlib import Path
from typing import Self

from lbnode.dataplane import descriptors
from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.errors import DataPlaneError, MapError, from_errno

Key = bytes | int

_PERCPU_TYPES = frozenset({5, 6, 10, 21})


def possible_cpus() -> int:
    """Return the number of values that a per-CPU map has for each key."""
    return int(abi.library().libbpf_num_possible_cpus())


class Map:
    """One kernel map. `span`: bytes of a value as system calls carry it (all CPUs of a per-CPU map)."""

    def __init__(self, fd: int) -> None:
        info = descriptors.ask(fd, abi.MapInfo())
        self.fd = fd
        self.id = int(info.id)
        self.name = info.name.decode()
        self.type = int(info.type)
        self.key_size = int(info.key_size)
        self.value_size = int(info.value_size)
        self.max_entries = int(info.max_entries)
        self.flags = int(info.map_flags)
        self.is_percpu = self.type in _PERCPU_TYPES
        self.span = -(-self.value_size // 8) * 8 * possible_cpus() if self.is_percpu else self.value_size

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """Open the map pinned at `path`; raises PinError."""
        return cls(descriptors.open_pinned(path))

    def pin(self, path: Path) -> None:
        """Pin at `path`, which must be on bpffs and free; raises PinError."""
        descriptors.pin(self.fd, path, f"map {self.name}")

    def _key(self, key: Key) -> bytes:
        return key.to_bytes(self.key_size, "little") if isinstance(key, int) else key

    def _failed(self, verb: str, remedy: str = "") -> DataPlaneError:
        return from_errno(MapError, f"{verb} map {self.name}", ctypes.get_errno(), remedy)

    def lookup(self, key: Key) -> bytes | None:
        """Return the value of `key` (`span` bytes), None when there is none."""
        value = ctypes.create_string_buffer(self.span)
        if abi.library().bpf_map_lookup_elem(self.fd, self._key(key), value) == 0:
            return value.raw
        if ctypes.get_errno() == errno.ENOENT:
            return None
        raise self._failed("read")

    def update(self, key: Key, value: bytes, flags: int = 0) -> None:
        """Set `key` to `value` (`span` bytes); flags as in bpf_map_update_elem(2)."""
        if len(value) != self.span:
            raise MapError(f"write map {self.name}: value has {len(value)} bytes, not {self.span}")
        if abi.library().bpf_map_update_elem(self.fd, self._key(key), value, flags):
            raise self._failed("write", f"it holds {self.max_entries} entries")

    def delete(self, key: Key) -> bool:
        """Remove `key`; return False when it was not there."""
        if abi.library().bpf_map_delete_elem(self.fd, self._key(key)) == 0:
            return True
        if ctypes.get_errno() == errno.ENOENT:
            return False
        raise self._failed("delete from")

    def keys(self) -> list[bytes]:
        """Return every key, in the kernel's order."""
        found: list[bytes] = []
        following = ctypes.create_string_buffer(self.key_size)
        while abi.library().bpf_map_get_next_key(self.fd, found[-1] if found else None, following) == 0:
            found.append(following.raw)
        return found

    def mmap(self) -> mmap.mmap:
        """Map the values of a BPF_F_MMAPABLE array into memory, writable; elements are 8-byte aligned."""
        size = -(-self.value_size // 8) * 8 * self.max_entries
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            return mmap.mmap(self.fd, pages, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise from_errno(MapError, f"map {self.name} into memory", error.errno or errno.EINVAL) from error

    def close(self) -> None:
        descriptors.close(self.fd)
        self.fd = -1
