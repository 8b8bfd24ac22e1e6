"""BPF objects, programs, maps and links through libbpf: the only door to the kernel's BPF side.

Everything here is mechanism and knows nothing of VIPs or tables. A value is bytes; a key is bytes or, for
arrays, the index. File descriptors belong to the object that carries them and are closed by its `close`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import byref, c_uint32
from pathlib import Path
from typing import Self

from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.bpf_map import Key, Map, possible_cpus
from lbnode.dataplane.bpf_program import TEST_XDP_LIVE_FRAMES, Program, RunResult, XdpLink, XdpMode, xdp_mode
from lbnode.dataplane.btf import Btf
from lbnode.dataplane.errors import LoadError, from_errno

__all__ = [
    "TEST_XDP_LIVE_FRAMES",
    "BpfObject",
    "Key",
    "Map",
    "Program",
    "RunResult",
    "XdpLink",
    "XdpMode",
    "possible_cpus",
    "xdp_mode",
]

_LOG_SIZE = 1 << 24
"""Linux before 6.4 keeps the beginning of its verifier's log, and says ENOSPC instead of the reason when it is full."""
_LOG_TAIL_LINES = 25

KERNEL_REMEDY = "evenkeel needs Linux 5.15 or newer with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF"


class BpfObject:
    """A compiled object: opened, set up, loaded. What it hands out owns its descriptors."""

    def __init__(self, path: Path, handle: int, log: ctypes.Array[ctypes.c_char]) -> None:
        self.path = path
        self._handle: int | None = handle
        self._log = log
        self._btf: Btf | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the object file at `path`; raises LoadError."""
        lib = abi.library()
        abi.said.clear()
        log = ctypes.create_string_buffer(_LOG_SIZE)
        options = abi.OpenOptions(sz=ctypes.sizeof(abi.OpenOptions), kernel_log_size=_LOG_SIZE)
        options.kernel_log_buf = ctypes.addressof(log)
        handle = lib.bpf_object__open_file(os.fsencode(path), byref(options))
        if not handle:
            remedy = "build it with `python hatch_build.py`"
            raise from_errno(LoadError, f"open {path}", ctypes.get_errno(), remedy)
        return cls(path, handle, log)

    @property
    def btf(self) -> Btf:
        """The object's own description of its structures."""
        if self._btf is None:
            lib = abi.library()
            size = c_uint32()
            raw = lib.btf__raw_data(lib.bpf_object__btf(self._handle), byref(size))
            self._btf = Btf(ctypes.string_at(raw, size.value))
        return self._btf

    def _map_handle(self, name: str) -> int:
        handle = abi.library().bpf_object__find_map_by_name(self._handle, name.encode())
        if not handle:
            raise LoadError(f"{self.path}: it has no map {name}")
        return int(handle)

    def map_names(self) -> list[str]:
        """Return the names of the object's own maps, without those of its data sections."""
        lib = abi.library()
        names: list[str] = []
        handle = lib.bpf_object__next_map(self._handle, None)
        while handle:
            if not lib.bpf_map__is_internal(handle):
                names.append(lib.bpf_map__name(handle).decode())
            handle = lib.bpf_object__next_map(self._handle, handle)
        return names

    def _rodata(self) -> tuple[int, int]:
        lib = abi.library()
        handle = lib.bpf_object__next_map(self._handle, None)
        while handle:
            if lib.bpf_map__is_internal(handle) and lib.bpf_map__name(handle).endswith(b".rodata"):
                size = ctypes.c_size_t()
                return int(lib.bpf_map__initial_value(handle, byref(size))), size.value
            handle = lib.bpf_object__next_map(self._handle, handle)
        raise LoadError(f"{self.path}: it has no constants")

    def set_constant(self, name: str, value: int | bytes) -> None:
        """Set a `const volatile` before `load`: the verifier prunes by it. An int is little-endian."""
        try:
            offset, size = self.btf.section(".rodata")[name]
        except KeyError:
            raise LoadError(f"{self.path}: it has no constant {name}") from None
        raw = value.to_bytes(size, "little") if isinstance(value, int) else value
        if len(raw) != size:
            raise LoadError(f"{self.path}: constant {name} has {size} bytes, not {len(raw)}")
        address, _ = self._rodata()
        ctypes.memmove(address + offset, raw, size)

    def resize(self, name: str, max_entries: int) -> None:
        """Set the number of entries of map `name` before `load`."""
        if abi.library().bpf_map__set_max_entries(self._map_handle(name), max_entries):
            what = f"{self.path}: resize map {name} to {max_entries}"
            raise from_errno(LoadError, what, ctypes.get_errno())

    def reuse(self, name: str, existing: Map) -> None:
        """Let `load` take the kernel map `existing` for map `name` instead of making a new one."""
        if abi.library().bpf_map__reuse_fd(self._map_handle(name), existing.fd):
            raise from_errno(LoadError, f"{self.path}: adopt map {name}", ctypes.get_errno())

    def without_map(self, name: str) -> None:
        """Do not make map `name`; programs that use it must be left out."""
        abi.library().bpf_map__set_autocreate(self._map_handle(name), False)

    def leave_out(self, program: str) -> None:
        """Do not load `program` of this object."""
        abi.library().bpf_program__set_autoload(self._program_handle(program), False)

    def load(self) -> None:
        """Make maps, load programs; raises RightsError, LoadError noting the verifier's last lines."""
        abi.said.clear()
        if abi.library().bpf_object__load(self._handle) == 0:
            return
        code = ctypes.get_errno()
        tail = "\n".join(self._log.value.decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        remedy = KERNEL_REMEDY if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP) else ""
        error = from_errno(LoadError, f"load {self.path.name}", code, remedy)
        error.add_note("\n".join(part for part in (tail, _said()) if part))
        raise error

    def _program_handle(self, name: str) -> int:
        handle = abi.library().bpf_object__find_program_by_name(self._handle, name.encode())
        if not handle:
            raise LoadError(f"{self.path}: it has no program {name}")
        return int(handle)

    def map(self, name: str) -> Map:
        """Return map `name` of a loaded object; it stays usable after `close`."""
        fd = abi.library().bpf_map__fd(self._map_handle(name))
        if fd < 0:
            raise LoadError(f"{self.path}: map {name}: not loaded")
        return Map(os.dup(fd))

    def program(self, name: str) -> Program:
        """Return program `name` of a loaded object; it stays usable after `close`."""
        fd = abi.library().bpf_program__fd(self._program_handle(name))
        if fd < 0:
            raise LoadError(f"{self.path}: program {name}: not loaded")
        return Program(os.dup(fd), name)

    def close(self) -> None:
        """Free the object; kernel maps and programs live on while somebody holds them."""
        if self._handle is not None:
            abi.library().bpf_object__close(self._handle)
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said() -> str:
    return "\n".join(abi.said)
