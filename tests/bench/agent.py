"""What a packet costs at the backend: in sync, and with a look-up among 1 and 64k established sockets.

Floor: taking the outer header off, and nothing else. With 64k sockets each packet is for another one; the further rows,
in which fewer of them send, tell the look-up from what memory adds to it.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import groupby
from pathlib import Path
from statistics import median
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
from tests.bench.goals import IN_SYNC_NS, LOOK_UP_NS
from tests.bench.namespaces import Namespace
from tests.bench.packets import PacketCost
from tests.bench.sockets import established

FRAME_SIZE = 86
VIP, PORT = IPv4Address("198.51.100.0"), 443
CLIENT = IPv4Address("203.0.113.0")
NODE, SELF, SELF_ID = IPv4Address("10.255.0.1"), IPv4Address("10.255.0.2"), BackendId(1)
EPOCH = 7
PACKETS = 1 << 19
KEY = bytes([0, 2, 0, 3])
_FOLDER = Path(__file__).resolve().parent


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


SENDERS = ((1, 1), (1 << 16, 1), (1 << 16, 1 << 10), (1 << 16, 1 << 13), (1 << 16, 1 << 16))
"""Sockets that are established, and how many of them get packets in turn."""
_MORE_NS = {"delivered_in_sync": IN_SYNC_NS, "delivered_held": LOOK_UP_NS}
_NAMES = {1: "1", 1 << 10: "1k", 1 << 13: "8k", 1 << 16: "64k"}


def agent_costs() -> Iterator[PacketCost]:
    """Measure in a namespace of its own."""
    with own_namespace():
        driver = AgentDriver()
        with filled(second_chance=False) as plane:
            yield measured(driver, plane, "agent, no second chance", "1 flow", 1, "delivered_no_chance")
        with filled() as plane:
            yield from _with_second_chance(driver, plane)


def _with_second_chance(driver: AgentDriver, plane: BackendDataPlane) -> Iterator[PacketCost]:
    for sockets, groups in groupby(SENDERS, key=lambda each: each[0]):
        with established(VIP, PORT, CLIENT, sockets):
            for _, flows in groups:
                traffic = f"{_NAMES[flows]} of {_NAMES[sockets]}"
                if flows == sockets:
                    yield measured(driver, plane, "agent, in sync", traffic, flows, "delivered_in_sync")
                yield measured(driver, plane, "agent, socket look-up", traffic, flows, "delivered_held")


def measured(
    driver: AgentDriver,
    plane: BackendDataPlane,
    name: str,
    traffic: str,
    flows: int,
    outcome: str,
) -> PacketCost:
    """Measure packets of `flows` flows, all of which must come to `outcome`."""
    prove(driver, plane, flows, outcome)
    with quiet_core():
        net, floor = driver.measure(plane.program)
    more = _MORE_NS.get(outcome)
    return PacketCost(name, traffic, net, floor, floor + more if more else None)


def prove(
    driver: AgentDriver, plane: BackendDataPlane, flows: int, outcome: str, packets: int = PACKETS
) -> None:
    """Let packets of `flows` flows through; raises AssertionError unless all of them came to `outcome`."""
    driver.set_traffic(flows, keyed=outcome == "delivered_held")
    before = plane.counters()[outcome].packets
    driver.cost(plane.program, packets)
    found = plane.counters()[outcome].packets - before
    if found != packets:
        raise AssertionError(f"{found} of {packets} packets of {flows} flows were {outcome}")


@contextmanager
def own_namespace() -> Iterator[None]:
    """Let the calling thread live where the VIP is local and clients can be routed to."""
    with Namespace() as namespace, namespace.entered():
        namespace.run("ip link set lo up", f"ip addr add {VIP}/32 dev lo", f"ip route add {CLIENT}/24 dev lo")
        yield


@contextmanager
def filled(second_chance: bool = True) -> Iterator[BackendDataPlane]:
    """Yield a backend's data plane of its own, with the fleet's table, that takes packets from a node."""
    fleet = make_fleet()
    table = replace(fleet.tables[0], epoch=EpochNumber(EPOCH))
    vips = [VipEntry(VIP + number, Protocol.TCP, PORT, table.pool) for number in range(VIPS)]
    with TemporaryDirectory(prefix="evenkeel-bench-") as name:
        directory = Path(name)
        bpffs.mount(directory)
        try:
            plane = BackendDataPlane.open(directory, [SELF], second_chance)
            plane.set_self(SELF_ID)
            members: dict[Address, MemberKind] = {
                NODE + number: MemberKind.NODE for number in range(256) if NODE + number != SELF
            }
            plane.set_sources(members)
            plane.set_backends(fleet.backends)
            plane.load(table)
            plane.set_vips(vips, [vip.key for vip in vips])
            yield plane
            plane.close()
        finally:
            bpffs.unmount(directory)
