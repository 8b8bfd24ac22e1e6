"""What a packet costs at the backend: in sync, and with a look-up among 1 and 64k established sockets.

Sockets are real ones, in a network namespace of their own, held by processes that share them out (each has its limit
of open files). Floor: taking the outer header off, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from ipaddress import IPv4Address
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from subprocess import run
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hatch_build import build_bpf
from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.backend_layout import Address, MemberKind
from lbnode.dataplane.libbpf import BpfObject, Program
from lbnode.dataplane.values import VipEntry
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendId, EpochNumber
from lbnode.netdev import bpffs
from tests.bench.clock import BATCHES, quiet_core
from tests.bench.fleet import VIPS, make_fleet
from tests.bench.packets import PacketCost

FRAME_SIZE = 86
FIRST_PORT, PORTS = 1024, 1 << 13
VIP, PORT = IPv4Address("198.51.100.0"), 443
CLIENT = IPv4Address("203.0.113.1")
NODE, SELF, SELF_ID = IPv4Address("10.255.0.1"), IPv4Address("10.255.0.2"), BackendId(1)
EPOCH = 7
PACKETS = 1 << 19
KEY = bytes([0, 2, 0, 3])
_FOLDER = Path(__file__).resolve().parent
_CLONE_NEWNET = 0x40000000


class AgentDriver:
    """The driver program for packets from the tunnel."""

    def __init__(self) -> None:
        with redirect_stdout(sys.stderr):
            build_bpf(_FOLDER)
        with BpfObject.open(_FOLDER / "build" / "agent_driver.bpf.o") as each:
            each.load()
            self._drivers = {keyed: each.program(name) for keyed, name in _DRIVERS.items()}
            self.nothing, self.floor = each.program("nothing"), each.program("strip_only")
            self._under_test = each.map("under_test")
            self._job: Any = np.frombuffer(each.map("jobs").mmap(), dtype=each.btf.dtype("job"), count=1)[0]

    def set_traffic(self, flows: int, keyed: bool) -> None:
        """Send packets of `flows` flows (a power of two), with or without a key."""
        frame = tunnelled(keyed)
        self._job["ethernet"][:14] = np.frombuffer(frame[:14], dtype=np.uint8)
        self._job["word"] = np.frombuffer(frame[14:], dtype="<u4")
        self._job["client"], self._job["port"] = int(CLIENT), socket.htons(PORT)
        self._job["flow_mask"] = flows - 1
        self._driver = self._drivers[keyed]

    def cost(self, program: Program, packets: int = PACKETS) -> float:
        """Return ns of CPU time a packet, the driver's included."""
        self._under_test.update(0, program.fd.to_bytes(4, "little"))
        self._job["next"] = self._job["changed"] = 0
        before = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self._driver.test_run(bytes(FRAME_SIZE), packets)
        spent = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - before
        expected = 0 if program is self.nothing else packets - 1
        if int(self._job["changed"]) != expected:
            raise AssertionError(
                f"{program.name}: {self._job['changed']} of {packets} packets changed length"
            )
        return spent / packets

    def measure(self, program: Program) -> tuple[float, float]:
        """Return net ns of `program` and of the floor: medians over alternating batches."""
        net: list[tuple[float, float]] = []
        for _ in range(BATCHES + 1):
            alone = self.cost(self.nothing)
            net.append((self.cost(program) - alone, self.cost(self.floor) - alone))
        return median(each[0] for each in net[1:]), median(each[1] for each in net[1:])


_DRIVERS = {False: "drive_keyless", True: "drive_keyed"}


def tunnelled(keyed: bool) -> bytes:
    """Return a packet from a node; the driver writes client and ports."""
    gre = struct.pack("!HH", 0x2000 if keyed else 0, 0x0800) + (KEY if keyed else b"")
    outer = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(gre) + 40, EPOCH, 0x4000, 64, 47, 0)
    inner = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0x4000, 61, Protocol.TCP, 0)
    tcp = struct.pack("!HHIIBBHHH", 1, PORT, 1, 1, 0x50, 0x10, 512, 0, 0)
    packet = outer + NODE.packed + SELF.packed + gre + inner + CLIENT.packed + VIP.packed + tcp
    return (bytes(12) + b"\x08\x00" + packet).ljust(FRAME_SIZE, b"\0")


def agent_costs() -> Iterator[PacketCost]:
    """Measure in a namespace of its own."""
    with ExitStack() as stack:
        stack.enter_context(_own_namespace())
        driver = AgentDriver()
        plane = stack.enter_context(_filled())
        for flows, name in ((1, "1 socket"), (1 << 16, "64k sockets")):
            with _established(flows):
                yield _measured(driver, plane, "agent, in sync", name, flows, keyed=False)
                yield _measured(driver, plane, "agent, socket look-up", name, flows, keyed=True)


def _measured(
    driver: AgentDriver, plane: BackendDataPlane, name: str, traffic: str, flows: int, keyed: bool
) -> PacketCost:
    outcome = "delivered_held" if keyed else "delivered_in_sync"
    driver.set_traffic(flows, keyed)
    before = plane.counters()[outcome].packets
    driver.cost(plane.program)
    if plane.counters()[outcome].packets - before != PACKETS:
        raise AssertionError(f"{name}, {traffic}: not every packet was {outcome}")
    with quiet_core():
        net, floor = driver.measure(plane.program)
    return PacketCost(name, traffic, net, floor)


@contextmanager
def _own_namespace() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare the network namespace")
        try:
            run(["ip", "link", "set", "lo", "up"], check=True)
            run(["ip", "addr", "add", f"{VIP}/32", "dev", "lo"], check=True)
            for number in range((1 << 16) // PORTS):
                run(["ip", "addr", "add", f"{CLIENT + number}/32", "dev", "lo"], check=True)
            run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000"], check=True)
            yield
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


@contextmanager
def _filled() -> Iterator[BackendDataPlane]:
    fleet = make_fleet()
    table = replace(fleet.tables[0], epoch=EpochNumber(EPOCH))
    vips = [VipEntry(VIP + number, Protocol.TCP, PORT, table.pool) for number in range(VIPS)]
    with TemporaryDirectory(prefix="evenkeel-bench-") as name:
        directory = Path(name)
        bpffs.mount(directory)
        try:
            plane = BackendDataPlane.open(directory, [SELF])
            plane.set_self(SELF_ID)
            members: dict[Address, MemberKind] = {
                NODE + number: MemberKind.NODE for number in range(256) if NODE + number != SELF
            }
            plane.set_sources(members)
            plane.set_backends(fleet.backends)
            plane.load(table)
            plane.set_vips(vips, [(vip.address, vip.protocol, vip.port) for vip in vips])
            yield plane
            plane.close()
        finally:
            bpffs.unmount(directory)


@contextmanager
def _established(flows: int) -> Iterator[None]:
    """Hold as many connections to the VIP as there are flows, in processes of at most PORTS each."""
    context = get_context("fork")
    with ExitStack() as stack:
        for first in range(0, flows, PORTS):
            ours, theirs = context.Pipe()
            holder = context.Process(target=_hold, args=(first, min(PORTS, flows - first), theirs))
            holder.start()
            stack.callback(holder.join)
            stack.callback(ours.send, "let go")
            theirs.close()
            if not ours.poll(60) or ours.recv() != "held":
                raise AssertionError("the sockets to be looked up could not be opened")
        yield


def _hold(first: int, count: int, parent: Connection) -> None:
    """Open the connections from one client address, say so, and stay until told to end."""
    client = str(CLIENT + first // PORTS)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(VIP), PORT))
        listener.listen(1024)
        held = []
        for number in range(count):
            each = socket.socket()
            each.bind((client, FIRST_PORT + number))
            each.connect((str(VIP), PORT))
            held += [each, listener.accept()[0]]
    parent.send("held")
    parent.recv()
    os._exit(0)
