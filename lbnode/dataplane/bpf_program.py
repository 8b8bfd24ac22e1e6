"""Loaded programs, test runs of them, and the links that hold XDP programs on interfaces."""

from __future__ import annotations

import ctypes
import errno
from ctypes import byref
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Self

from lbnode.dataplane import descriptors
from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.errors import AttachError, DataPlaneError, from_errno

BPF_XDP = 37
TEST_XDP_LIVE_FRAMES = 1 << 1
_LARGEST_FRAME = 1 << 16


class XdpMode(Enum):
    """How an XDP program hangs on an interface; the value is the kernel's flag."""

    GENERIC = 1 << 1
    NATIVE = 1 << 2


class RunResult(NamedTuple):
    """What one BPF_PROG_TEST_RUN gave: the return value, the packet after it, mean ns per repeat."""

    retval: int
    data: bytes
    duration_ns: int


class Program:
    """One loaded program."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """Open the program pinned at `path`; raises PinError."""
        return cls(descriptors.open_pinned(path), path.name)

    @property
    def id(self) -> int:
        """The kernel's number of this program."""
        return int(descriptors.ask(self.fd, abi.ProgramInfo()).id)

    @property
    def tag(self) -> str:
        """The kernel's hash over the instructions; which maps they use is not part of it."""
        return bytes(descriptors.ask(self.fd, abi.ProgramInfo()).tag).hex()

    def pin(self, path: Path) -> None:
        """Pin at `path`, which must be on bpffs and free; raises PinError."""
        descriptors.pin(self.fd, path, f"program {self.name}")

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
        descriptors.close(self.fd)
        self.fd = -1


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
        return cls(descriptors.open_pinned(path))

    def pin(self, path: Path) -> None:
        """Pin at `path`, so that the program stays attached without this process; raises PinError."""
        descriptors.pin(self.fd, path, "link")

    @property
    def ifindex(self) -> int:
        """The interface, 0 when it is gone."""
        return int(descriptors.ask(self.fd, abi.LinkInfo()).ifindex)

    @property
    def program_id(self) -> int:
        """The kernel's number of the program that the link runs now."""
        return int(descriptors.ask(self.fd, abi.LinkInfo()).prog_id)

    @property
    def program_tag(self) -> str:
        """The tag of the program that the link runs now."""
        running = self.running()
        try:
            return running.tag
        finally:
            running.close()

    def running(self) -> Program:
        """Open the program that the link runs now."""
        fd = int(abi.library().bpf_prog_get_fd_by_id(self.program_id))
        if fd < 0:
            raise from_errno(DataPlaneError, f"open program {self.program_id}", ctypes.get_errno())
        return Program(fd, "running")

    def update(self, program: Program) -> None:
        """Let the link run `program` from the next packet on; no packet is lost."""
        if abi.library().bpf_link_update(self.fd, program.fd, None):
            raise from_errno(AttachError, f"replace the program by {program.name}", ctypes.get_errno())

    def detach(self) -> None:
        """Take the program off the interface, whoever else holds the link."""
        if abi.library().bpf_link_detach(self.fd):
            raise from_errno(AttachError, "detach xdp link", ctypes.get_errno())

    def close(self) -> None:
        descriptors.close(self.fd)
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
