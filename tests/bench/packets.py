"""What a packet costs: the shipped object, filled by the daemon's own code, under four kinds of traffic."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lbnode.dataplane.model import NodeModel, Verdict
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import Limits
from lbnode.model.fleet import HashAlgorithm, Protocol
from lbnode.netdev import bpffs
from tests.bench.clock import Driver, Traffic, quiet_core
from tests.bench.fleet import (
    FIRST_VIP,
    KEYED_SHARE,
    LOOPBACK,
    OWN_MAC,
    PORT,
    VIPS,
    Fleet,
    install,
    make_fleet,
)

ACK, SYN = 0x10, 0x02
PACKETS = 1 << 20
CHECKED = 2000
"""Packets of each kind of traffic that are compared with the model."""


@dataclass(frozen=True, slots=True)
class PacketCost:
    """One line of the result: net ns a packet, and what the outer header alone costs in the same run."""

    program: str
    traffic: str
    net_ns: float
    floor_ns: float

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.net_ns / self.floor_ns


def tcp_frame(flags: int) -> bytes:
    """Return a TCP packet without data to the first VIP."""
    ethernet = OWN_MAC + bytes(6) + struct.pack("!H", 0x0800)
    ip = struct.pack("!BBHHHBBHI", 0x45, 0, 40, 1, 0x4000, 61, Protocol.TCP, 0, 0) + FIRST_VIP.packed
    return ethernet + ip + struct.pack("!HHIIBBHHH", 40000, PORT, 1, 1, 0x50, flags, 512, 0, 0)


TRAFFIC = (
    Traffic("1 flow", tcp_frame(ACK), 1, 1),
    Traffic("64k flows", tcp_frame(ACK), 1 << 16, VIPS),
    Traffic("1M flows", tcp_frame(ACK), 1 << 20, VIPS),
    Traffic("SYN flood", tcp_frame(SYN), 1 << 32, VIPS),
)


@contextmanager
def filled(fleet: Fleet, limits: Limits) -> Iterator[NodeDataPlane]:
    """Yield a data plane of its own that holds `fleet`."""
    with TemporaryDirectory(prefix="evenkeel-bench-") as name:
        directory = Path(name)
        bpffs.mount(directory)
        try:
            with NodeDataPlane.open(directory, limits) as node:
                install(fleet, node)
                yield node
        finally:
            bpffs.unmount(directory)


def check(driver: Driver, node: NodeDataPlane, fleet: Fleet, traffic: Traffic) -> None:
    """Compare what the program makes of the traffic with the model; raises AssertionError at the first difference."""
    model = NodeModel(fleet.tables, fleet.backends, fleet.vips, [fleet.source], LOOPBACK, OWN_MAC)
    keyed = 0
    for number in range(CHECKED):
        expected = model.process(traffic.packet(number))
        found = driver.output(node.program, number)
        if (Verdict(found[0]), found[1]) != (expected.verdict, expected.frame):
            raise AssertionError(f"{traffic.name}, packet {number}: not what the model says")
        keyed += expected.outcome == "forwarded_keyed"
    share = 0 if traffic.flows == 1 or traffic.frame[47] == SYN else KEYED_SHARE
    if traffic.flows > 1 and abs(keyed / CHECKED - share) > KEYED_SHARE / 2:
        raise AssertionError(
            f"{traffic.name}: {keyed} of {CHECKED} packets carry a key, {share:.0%} were meant to"
        )


def packet_costs() -> Iterator[PacketCost]:
    """Measure; the shipped program with its default hash first, then its options."""
    driver = Driver()
    plain, counting = Limits(), Limits(count_buckets=True)
    for name, algorithm, limits in (
        ("node", HashAlgorithm.MULTIPLY, plain),
        ("node, siphash", HashAlgorithm.SIPHASH, plain),
        ("node, buckets counted", HashAlgorithm.MULTIPLY, counting),
    ):
        fleet = make_fleet(algorithm)
        with filled(fleet, limits) as node:
            for traffic in TRAFFIC:
                driver.set_traffic(traffic)
                check(driver, node, fleet, traffic)
                with quiet_core():
                    net = driver.measure(
                        {"floor": driver.floor, name: node.program},
                        PACKETS,
                        min(2 * traffic.flows, 2 * PACKETS),
                    )
                yield PacketCost(name, traffic.name, net[name], net["floor"])
