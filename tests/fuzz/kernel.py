"""The kernel's side of a trial: one packet through a loaded program, as fast as Python can ask."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import AbstractContextManager
from ctypes import byref
from pathlib import Path
from typing import Any

import numpy as np

from hatch_build import build_bpf
from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.libbpf import TEST_XDP_LIVE_FRAMES, BpfObject, Program

_FOLDER = Path(__file__).resolve().parent
_ROOM = 4096
_CONTEXT = struct.Struct("<6I")
HEADROOM = 216
"""Bytes before a frame in a test run: XDP_PACKET_HEADROOM less the kernel's struct xdp_frame."""


class TestRuns:
    """BPF_PROG_TEST_RUN with everything prepared: a call costs about 1.5 µs."""

    __test__ = False

    def __init__(self, program: Program) -> None:
        self._program = program
        self._call = abi.library().bpf_prog_test_run_opts
        self._given = ctypes.create_string_buffer(_ROOM)
        self._gotten = ctypes.create_string_buffer(_ROOM)
        self._context = ctypes.create_string_buffer(_CONTEXT.size)
        self._options = abi.TestRunOptions(sz=ctypes.sizeof(abi.TestRunOptions), repeat=1)
        self._options.data_in = ctypes.addressof(self._given)
        self._options.data_out = ctypes.addressof(self._gotten)
        self._reference = byref(self._options)
        self._in: memoryview = memoryview(self._given).cast("B")
        self._out: memoryview = memoryview(self._gotten).cast("B")

    def __call__(self, data: bytes, metadata: int = 0) -> tuple[int, bytes]:
        """Return verdict and frame; `metadata` bytes (a multiple of four) lie before the frame."""
        options, size = self._options, len(data) + metadata
        self._in[metadata:size] = data
        options.data_size_in, options.data_size_out = size, _ROOM
        if metadata:
            self._context.raw = _CONTEXT.pack(metadata, size, 0, 0, 0, 0)
            options.ctx_in, options.ctx_size_in = ctypes.addressof(self._context), _CONTEXT.size
        failed = self._call(self._program.fd, self._reference)
        if metadata:
            options.ctx_in, options.ctx_size_in = None, 0
        if failed:
            raise OSError(ctypes.get_errno(), f"test run over {len(data)} bytes, {metadata} before them")
        return options.retval, bytes(self._out[metadata : options.data_size_out])


class Redirects(AbstractContextManager["Redirects"]):
    """Tells which interface a program redirects a packet to; there must be none with that number."""

    def __init__(self) -> None:
        build_bpf(_FOLDER)
        with BpfObject.open(_FOLDER / "build" / "redirect.bpf.o") as each:
            each.set_constant("process", os.getpid())
            each.load()
            watch = each.program("watch")
            self._target: Any = np.frombuffer(each.map("targets").mmap(), dtype="<u8", count=1)
        self._link: int = abi.library().bpf_raw_tracepoint_open(None, watch.fd)
        watch.close()
        if self._link < 0:
            raise OSError(ctypes.get_errno(), "attach to the tracepoint xdp_redirect_err")

    def target(self, program: Program, data: bytes) -> int:
        """Return the interface's number, 0 when the program does not redirect."""
        self._target[0] = 0
        program.test_run(data, flags=TEST_XDP_LIVE_FRAMES, batch_size=1)
        return int(self._target[0])

    def __exit__(self, *_: object) -> None:
        os.close(self._link)
