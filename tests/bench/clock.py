"""Nanoseconds a packet: batches of a program under the driver, the driver's own cost subtracted.

Time is the thread's CPU time around the one system call of a batch; the thread runs SCHED_FIFO on one CPU. Batches of
the programs alternate, so that a slow moment of the machine hits all of them; the median of the differences counts.
The driver moves the frame's start back and writes the headers in both cases: what remains is the program's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hatch_build import build_bpf
from lbnode.dataplane.libbpf import BpfObject, Program

BATCHES = 9
_SPREAD = 2654435761
_PRIORITY = 50
_FOLDER = Path(__file__).resolve().parent
_OBJECT = _FOLDER / "build" / "driver.bpf.o"


class Form(Enum):
    """What frames look like: the driver, the frame's size, where the changing words of its addresses end."""

    IPV4 = ("drive_ipv4", 64, 30, 34)
    TAGGED = ("drive_tagged", 64, 34, 38)
    IPV6 = ("drive_ipv6", 80, 38, 54)

    @property
    def driver(self) -> str:
        """The driver's name."""
        return self.value[0]

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Traffic:
    """A frame whose addresses change from packet to packet: `flows` flows over `vips` VIPs, both powers of two.

    `is_left`: the program under test is to leave the packets as they are.
    """

    name: str
    frame: bytes
    flows: int
    vips: int
    form: Form = Form.IPV4
    is_left: bool = False

    def packet(self, number: int) -> bytes:
        """Return the frame of packet `number`, as the driver writes it."""
        flow = number & (self.flows - 1)
        _, size, source_end, end = self.form.value
        destination = int.from_bytes(self.frame[end - 4 : end], "big") + (flow & (self.vips - 1))
        frame = bytearray(self.frame.ljust(size, b"\0"))
        frame[source_end - 4 : source_end] = (flow * _SPREAD & 0xFFFFFFFF).to_bytes(4, "little")
        frame[end - 4 : end] = destination.to_bytes(4, "big")
        return bytes(frame)


class Driver:
    """The driver programs and what they are told to do."""

    def __init__(self) -> None:
        with redirect_stdout(sys.stderr):
            build_bpf(_FOLDER)
        with BpfObject.open(_OBJECT) as each:
            each.load()
            self._drivers = {form: each.program(form.driver) for form in Form}
            self.nothing = each.program("nothing")
            self.floor = each.program("push_only")
            self._under_test = each.map("under_test")
            self._job: Any = np.frombuffer(each.map("jobs").mmap(), dtype=each.btf.dtype("job"), count=1)[0]

    def set_traffic(self, traffic: Traffic) -> None:
        """Choose what the next runs send."""
        self._traffic = traffic
        self._job["frame"] = np.frombuffer(traffic.frame.ljust(Form.IPV6.size, b"\0"), dtype=np.uint8)
        self._job["flow_mask"], self._job["vip_mask"] = traffic.flows - 1, traffic.vips - 1

    def run(self, program: Program, packets: int) -> float:
        """Return the ns of CPU time that each of `packets` packets took, the driver's share included."""
        self._under_test.update(0, program.fd.to_bytes(4, "little"))
        self._job["next"] = self._job["changed"] = 0
        before = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self._drivers[self._traffic.form].test_run(bytes(self._traffic.form.size), packets)
        spent = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - before
        is_left = program is self.nothing or (self._traffic.is_left and program is not self.floor)
        expected = 0 if is_left else packets - 1
        if int(self._job["changed"]) != expected:
            raise AssertionError(
                f"{program.name} changed the length of {self._job['changed']} of {packets} packets"
            )
        return spent / packets

    def output(self, program: Program, number: int) -> tuple[int, bytes]:
        """Return verdict and packet of `program` for packet `number`."""
        self._under_test.update(0, program.fd.to_bytes(4, "little"))
        self._job["next"] = number
        result = self._drivers[self._traffic.form].test_run(bytes(self._traffic.form.size))
        return result.retval, result.data

    def measure(self, programs: Mapping[str, Program], packets: int, warm_up: int) -> dict[str, float]:
        """Return net ns a packet for each program: the median over alternating batches."""
        for program in programs.values():
            self.run(program, warm_up)
        net: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(BATCHES):
            alone = self.run(self.nothing, packets)
            for name, program in programs.items():
                net[name].append(self.run(program, packets) - alone)
        return {name: median(values) for name, values in net.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """Run this thread on the last CPU it may use."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


@contextmanager
def quiet_core() -> Iterator[None]:
    """Run this thread alone on one core, before everything that is not real-time."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with one_core():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        try:
            yield
        finally:
            os.sched_setscheduler(0, policy, parameters)
