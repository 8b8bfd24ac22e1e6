"""BPF objects, programs, maps and links through libbpf: the only door to the kernel's BPF side.

Everything here is mechanism and knows nothing of VIPs or tables. A value is bytes; a key is bytes or, for
arrays, the index. File descriptors belong to the object that carries them and are closed by its `close`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from ctypes import byref, c_uint32
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Self

from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.btf import Btf
from lbnode.dataplane.errors import (
    RIGHTS_REMEDY,
    AttachError,
    DataPlaneError,
    LoadError,
    MapError,
    PinError,
    from_errno,
)

Key = bytes | int

BPF_XDP = 37
BPF_F_MMAPABLE = 1 << 10
TEST_XDP_LIVE_FRAMES = 1 << 1
_PERCPU_TYPES = frozenset({5, 6, 10, 21})
_LOG_SIZE = 1 << 20
_LOG_TAIL_LINES = 25
_LARGEST_FRAME = 1 << 16

KERNEL_REMEDY = "evenkeel needs Linux 5.15 or newer with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF"


class XdpMode(Enum):
    """How an XDP program hangs on an interface; the value is the kernel's flag."""

    GENERIC = 1 << 1
    NATIVE = 1 << 2


class RunResult(NamedTuple):
    """What one BPF_PROG_TEST_RUN gave: the return value, the packet after it, mean ns per repeat."""

    retval: int
    data: bytes
    duration_ns: int


def possible_cpus() -> int:
    """Return the number of values that a per-CPU map has for each key."""
    return int(abi.library().libbpf_num_possible_cpus())


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _pin(fd: int, path: Path, what: str) -> None:
    if abi.library().bpf_obj_pin(fd, os.fsencode(path)):
        reason = os.strerror(ctypes.get_errno())
        raise PinError(
            f"pin {what} at {path}: {reason}: the path must be free, on a mounted bpffs, {RIGHTS_REMEDY}"
        )


def _get_pinned(path: Path) -> int:
    fd = int(abi.library().bpf_obj_get(os.fsencode(path)))
    if fd < 0:
        raise from_errno(PinError, f"open pin {path}", ctypes.get_errno())
    return fd


def _info(fd: int, info: Any) -> Any:
    size = c_uint32(ctypes.sizeof(info))
    if abi.library().bpf_obj_get_info_by_fd(fd, byref(info), byref(size)):
        raise from_errno(DataPlaneError, f"read kernel's information on fd {fd}", ctypes.get_errno())
    return info


class Map:
    """One kernel map. `span`: bytes of a value as system calls carry it (all CPUs of a per-CPU map)."""

    def __init__(self, fd: int) -> None:
        info = _info(fd, abi.MapInfo())
        self.fd = fd
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
        return cls(_get_pinned(path))

    def pin(self, path: Path) -> None:
        """Pin at `path`, which must be on bpffs and free; raises PinError."""
        _pin(self.fd, path, f"map {self.name}")

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

    def update_batch(self, keys: bytes, values: bytes) -> None:
        """Write many entries in one system call: keys and values one after another, without gaps."""
        count = c_uint32(len(keys) // self.key_size)
        options = abi.BatchOptions(sz=ctypes.sizeof(abi.BatchOptions))
        if abi.library().bpf_map_update_batch(self.fd, keys, values, byref(count), byref(options)):
            raise self._failed("write a batch to")

    def lookup_batch(self) -> tuple[bytes, bytes]:
        """Return all keys and all values in one system call, one after another (`span` bytes each value)."""
        keys = ctypes.create_string_buffer(self.key_size * self.max_entries)
        values = ctypes.create_string_buffer(self.span * self.max_entries)
        count = c_uint32(self.max_entries)
        following = ctypes.create_string_buffer(max(self.key_size, 8))
        options = abi.BatchOptions(sz=ctypes.sizeof(abi.BatchOptions))
        failed = abi.library().bpf_map_lookup_batch(
            self.fd, None, following, keys, values, byref(count), byref(options)
        )
        if failed and ctypes.get_errno() != errno.ENOENT:
            raise self._failed("read a batch from")
        return keys.raw[: count.value * self.key_size], values.raw[: count.value * self.span]

    def mmap(self) -> mmap.mmap:
        """Map the values of a BPF_F_MMAPABLE array into memory, writable; elements are 8-byte aligned."""
        size = -(-self.value_size // 8) * 8 * self.max_entries
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            return mmap.mmap(self.fd, pages, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise from_errno(MapError, f"map {self.name} into memory", error.errno or errno.EINVAL) from error

    def close(self) -> None:
        _close(self.fd)
        self.fd = -1


class Program:
    """One loaded program."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """Open the program pinned at `path`; raises PinError."""
        return cls(_get_pinned(path), path.name)

    @property
    def id(self) -> int:
        """The kernel's number of this program."""
        return int(_info(self.fd, abi.ProgramInfo()).id)

    @property
    def tag(self) -> str:
        """The kernel's hash over the instructions; which maps they use is not part of it."""
        return bytes(_info(self.fd, abi.ProgramInfo()).tag).hex()

    def pin(self, path: Path) -> None:
        """Pin at `path`, which must be on bpffs and free; raises PinError."""
        _pin(self.fd, path, f"program {self.name}")

    def test_run(
        self,
        data: bytes,
        repeat: int = 1,
        *,
        context: bytes | None = None,
        flags: int = 0,
        batch_size: int = 0,
    ) -> RunResult:
        """Run over the packet `data` (BPF_PROG_TEST_RUN); `context` is a struct xdp_md or __sk_buff."""
        out = None if flags & TEST_XDP_LIVE_FRAMES else ctypes.create_string_buffer(_LARGEST_FRAME)
        options = abi.TestRunOptions(sz=ctypes.sizeof(abi.TestRunOptions), repeat=repeat, flags=flags)
        options.data_in = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        options.data_size_in = len(data)
        options.batch_size = batch_size
        if out is not None:
            options.data_out, options.data_size_out = ctypes.addressof(out), len(out)
        if context is not None:
            options.ctx_in = ctypes.cast(ctypes.c_char_p(context), ctypes.c_void_p)
            options.ctx_size_in = len(context)
        if abi.library().bpf_prog_test_run_opts(self.fd, byref(options)):
            raise from_errno(DataPlaneError, f"test run of {self.name}", ctypes.get_errno())
        after = out.raw[: options.data_size_out] if out is not None else b""
        return RunResult(int(options.retval), after, int(options.duration))

    def close(self) -> None:
        _close(self.fd)
        self.fd = -1


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

    def set_value_size(self, name: str, size: int) -> None:
        """Set the size in bytes of a value of map `name` before `load`."""
        if abi.library().bpf_map__set_value_size(self._map_handle(name), size):
            what = f"{self.path}: make values of map {name} {size} bytes"
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


class XdpLink:
    """A bpf_link that holds an XDP program on an interface."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def attach(cls, program: Program, ifindex: int, mode: XdpMode) -> Self:
        """Attach `program` to the interface in this network namespace; raises AttachError or RightsError."""
        options = abi.LinkCreateOptions(sz=ctypes.sizeof(abi.LinkCreateOptions), flags=mode.value)
        fd = abi.library().bpf_link_create(program.fd, ifindex, BPF_XDP, byref(options))
        if fd < 0:
            what = f"attach {program.name} to interface {ifindex} in {mode.name.lower()} mode"
            raise from_errno(AttachError, what, ctypes.get_errno(), _attach_remedy(ctypes.get_errno()))
        return cls(fd)

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """Open the link pinned at `path`; raises PinError."""
        return cls(_get_pinned(path))

    def pin(self, path: Path) -> None:
        """Pin at `path`, so that the program stays attached without this process; raises PinError."""
        _pin(self.fd, path, "link")

    @property
    def ifindex(self) -> int:
        """The interface, 0 when it is gone."""
        return int(_info(self.fd, abi.LinkInfo()).ifindex)

    @property
    def program_id(self) -> int:
        """The kernel's number of the program that the link runs now."""
        return int(_info(self.fd, abi.LinkInfo()).prog_id)

    @property
    def program_tag(self) -> str:
        """The tag of the program that the link runs now."""
        fd = int(abi.library().bpf_prog_get_fd_by_id(self.program_id))
        if fd < 0:
            raise from_errno(DataPlaneError, f"open program {self.program_id}", ctypes.get_errno())
        running = Program(fd, "running")
        try:
            return running.tag
        finally:
            running.close()

    def update(self, program: Program) -> None:
        """Let the link run `program` from the next packet on; no packet is lost."""
        if abi.library().bpf_link_update(self.fd, program.fd, None):
            raise from_errno(AttachError, f"replace the program by {program.name}", ctypes.get_errno())

    def detach(self) -> None:
        """Take the program off the interface, whoever else holds the link."""
        if abi.library().bpf_link_detach(self.fd):
            raise from_errno(AttachError, "detach xdp link", ctypes.get_errno())

    def close(self) -> None:
        _close(self.fd)
        self.fd = -1


def _attach_remedy(code: int) -> str:
    if code in (errno.EBUSY, errno.EEXIST):
        return (
            "it has another XDP program: `ip link show` names it, `ip link set dev NAME xdp off` removes it"
        )
    if code == errno.EOPNOTSUPP:
        return "the driver has no native XDP"
    return ""


def xdp_mode(ifindex: int) -> XdpMode | None:
    """Return how an XDP program is attached to the interface now, None when none is."""
    options = abi.XdpQueryOptions(sz=ctypes.sizeof(abi.XdpQueryOptions))
    if abi.library().bpf_xdp_query(ifindex, 0, byref(options)):
        raise from_errno(AttachError, f"query xdp of interface {ifindex}", ctypes.get_errno())
    if options.drv_prog_id:
        return XdpMode.NATIVE
    return XdpMode.GENERIC if options.skb_prog_id else None
