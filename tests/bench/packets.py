"""What a packet costs: the shipped object, filled by the daemon's own code, under many kinds of traffic."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

from lbnode.dataplane.model import NodeModel, Verdict
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import Limits
from lbnode.model.fleet import HashAlgorithm, Protocol
from lbnode.netdev import bpffs
from lbnode.quic import ConnectionIds
from tests.bench.clock import Driver, Form, Traffic, quiet_core
from tests.bench.fleet import (
    BACKENDS,
    FIRST_VIP,
    FIRST_VIP6,
    KEYED_SHARE,
    LOOPBACK,
    OWN_MAC,
    PORT,
    SOURCES,
    VIPS,
    Fleet,
    Shape,
    install,
    make_fleet,
)
from tests.bench.goals import KEYED_NS, PROGRAMS_NS, Comparison

ACK, SYN = 0x10, 0x02
HEAD = f"{'program':<24}{'traffic':<12}{'net ns':>8}{'floor ns':>10}{'x floor':>9}{'goal':>8}"
PACKETS = 1 << 20
QUIC_SIZE = 22
"""Bytes of QUIC that fill a frame of 64."""
CHECKED = 2000
"""Packets of each kind of traffic that are compared with the model."""


@dataclass(frozen=True, slots=True)
class PacketCost:
    """One line of the result: net ns a packet, and what the outer header alone costs in the same run."""

    program: str
    traffic: str
    net_ns: float
    floor_ns: float
    goal_ns: float | None = None

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.net_ns / self.floor_ns

    @property
    def row(self) -> str:
        """A line of the table."""
        numbers = f"{self.net_ns:>8.1f}{self.floor_ns:>10.1f}{self.ratio:>9.1f}"
        return f"{self.program:<24}{self.traffic:<12}{numbers}{self._beside_goal()}"

    def _beside_goal(self) -> str:
        if self.goal_ns is None:
            return ""
        return f"{self.goal_ns:>8.0f}{'' if self.net_ns <= self.goal_ns else '  MISSED'}"

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {"what": "packet", **asdict(self), "ratio_to_floor": self.ratio}


PLAIN = Limits()
ROOMY = Limits(flows=1 << 17)


@dataclass(frozen=True, slots=True)
class Scene:
    """A fleet under some kinds of traffic."""

    name: str
    shape: Shape
    traffic: Sequence[Traffic]
    limits: Limits = PLAIN


def tcp_frame(flags: int, to: IPv4Address = FIRST_VIP) -> bytes:
    """Return a TCP packet without data, to the first VIP when nothing else is said."""
    return _frame(Protocol.TCP, _tcp(flags), to)


def _tcp(flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, PORT, 1, 1, 0x50, flags, 512, 0, 0)


def tagged_frame(flags: int, to: IPv4Address = FIRST_VIP) -> bytes:
    """Return the same in VLAN 5."""
    frame = tcp_frame(flags, to)
    return frame[:12] + struct.pack("!HH", 0x8100, 5) + frame[12:]


def ipv6_frame(flags: int, to: IPv6Address = FIRST_VIP6) -> bytes:
    """Return the same, from an IPv6 client to the first IPv6 VIP."""
    ip = struct.pack("!IHBB", 6 << 28, 20, Protocol.TCP, 61) + bytes.fromhex("20010db8000d") + bytes(10)
    return OWN_MAC + bytes(6) + struct.pack("!H", 0x86DD) + ip + to.packed + _tcp(flags)


def udp_frame() -> bytes:
    """Return a UDP packet of a dozen bytes to the first VIP."""
    return _frame(Protocol.UDP, struct.pack("!HHHH12x", 40000, PORT, 20, 0), FIRST_VIP)


def quic_frame() -> bytes:
    """Return a QUIC packet with a short header, whose connection id names a backend, to the first VIP."""
    payload = (b"\x40" + ConnectionIds(BACKENDS // 2).mint()).ljust(QUIC_SIZE, b"\0")
    return _frame(Protocol.UDP, struct.pack("!HHHH", 40000, PORT, 8 + len(payload), 0) + payload, FIRST_VIP)


def _frame(protocol: Protocol, transport: bytes, to: IPv4Address) -> bytes:
    ethernet = OWN_MAC + bytes(6) + struct.pack("!H", 0x0800)
    ip = struct.pack("!BBHHHBBHI", 0x45, 0, 20 + len(transport), 1, 0x4000, 61, protocol, 0, 0)
    return ethernet + ip + to.packed + transport


ONE_FLOW = Traffic("1 flow", tcp_frame(ACK), 1, 1)
MANY_FLOWS = Traffic("64k flows", tcp_frame(ACK), 1 << 16, VIPS)
FLOOD = Traffic("SYN flood", tcp_frame(SYN), 1 << 32, VIPS)
TRAFFIC = (ONE_FLOW, MANY_FLOWS, Traffic("1M flows", tcp_frame(ACK), 1 << 20, VIPS), FLOOD)
TAGGED = Traffic("64k, tagged", tagged_frame(ACK), 1 << 16, VIPS, Form.TAGGED)
NO_VIP, NO_VIP6 = IPv4Address("203.0.113.0"), IPv6Address("2001:db8:200::")
NOT_VIP = (
    Traffic("no VIP", tcp_frame(ACK, NO_VIP), 1 << 16, VIPS, is_left=True),
    Traffic("no VIP, tag", tagged_frame(ACK, NO_VIP), 1 << 16, VIPS, Form.TAGGED, is_left=True),
)
NOT_VIP6 = Traffic("no VIP", ipv6_frame(ACK, NO_VIP6), 1 << 16, VIPS, Form.IPV6, is_left=True)
OF_IPV6 = (
    Traffic("1 flow", ipv6_frame(ACK), 1, 1, Form.IPV6),
    Traffic("64k flows", ipv6_frame(ACK), 1 << 16, VIPS, Form.IPV6),
    Traffic("SYN flood", ipv6_frame(SYN), 1 << 32, VIPS, Form.IPV6),
)
DATAGRAMS = Traffic("64k flows", udp_frame(), 1 << 16, VIPS)
CONNECTIONS = Traffic("64k flows", quic_frame(), 1 << 16, VIPS)
NEW_DATAGRAMS = Traffic("all new", udp_frame(), 1 << 32, VIPS)

NONE_KEYED, EVERY_KEYED = "no bucket keyed", "every bucket keyed"
SCENES = (
    Scene("node", Shape(), (*TRAFFIC, TAGGED, *NOT_VIP)),
    Scene("IPv6 in IPv4", Shape(ipv6=True), (*OF_IPV6, NOT_VIP6)),
    Scene("IPv6 in IPv6", Shape(ipv6=True, tunnel=6), OF_IPV6),
    Scene("IPv4 in IPv6", Shape(tunnel=6), (ONE_FLOW, MANY_FLOWS)),
    Scene("node, siphash", Shape(HashAlgorithm.SIPHASH), (ONE_FLOW, MANY_FLOWS)),
    Scene("node, buckets counted", Shape(), (ONE_FLOW, MANY_FLOWS), Limits(count_buckets=True)),
    Scene(NONE_KEYED, Shape(keyed_share=0), (ONE_FLOW, MANY_FLOWS)),
    Scene(EVERY_KEYED, Shape(keyed_share=1), (ONE_FLOW, MANY_FLOWS)),
    Scene("flow table, agents", Shape(flow_table=True), (ONE_FLOW, MANY_FLOWS)),
    Scene(
        "flow table, no agent",
        Shape(flow_table=True, agents=False, keyed_share=1),
        (MANY_FLOWS, FLOOD),
        ROOMY,
    ),
    Scene(
        "flow table, recording",
        Shape(protocol=Protocol.UDP, flow_table=True, recorded=True),
        (DATAGRAMS, NEW_DATAGRAMS),
        ROOMY,
    ),
    Scene("QUIC by id", Shape(protocol=Protocol.UDP, quic=True), (CONNECTIONS,)),
    Scene("QUIC pool, by bucket", Shape(protocol=Protocol.UDP, quic=True), (DATAGRAMS,)),
)


@contextmanager
def filled(fleet: Fleet, limits: Limits, interface: int = LOOPBACK) -> Iterator[NodeDataPlane]:
    """Yield a data plane of its own that holds `fleet`; packets come by `interface`."""
    with TemporaryDirectory(prefix="evenkeel-bench-") as name:
        directory = Path(name)
        bpffs.mount(directory)
        try:
            with NodeDataPlane.open(directory, limits) as node:
                install(fleet, node, interface)
                yield node
        finally:
            bpffs.unmount(directory)


def check(driver: Driver, node: NodeDataPlane, fleet: Fleet, traffic: Traffic) -> None:
    """Compare what the program makes of the traffic with the model; raises AssertionError at the first difference."""
    recorded = {
        after.pool: after.owners != before.owners
        for before, after in zip(fleet.tables, fleet.staged, strict=False)
    }
    model = NodeModel(fleet.tables, fleet.backends, fleet.vips, SOURCES, LOOPBACK, OWN_MAC, recorded)
    keyed = 0
    for number in range(CHECKED):
        expected = model.process(traffic.packet(number))
        found = driver.output(node.program, number)
        if (Verdict(found[0]), found[1]) != (expected.verdict, expected.frame):
            raise AssertionError(f"{traffic.name}, packet {number}: not what the model says")
        keyed += expected.outcome == "forwarded_keyed"
    is_keyed = fleet.shape.agents and not traffic.is_left and traffic.name != FLOOD.name
    share = fleet.shape.keyed_share if is_keyed and traffic is not CONNECTIONS else 0
    if traffic.flows > 1 and abs(keyed / CHECKED - share) > KEYED_SHARE / 2:
        raise AssertionError(
            f"{traffic.name}: {keyed} of {CHECKED} packets carry a key, {share:.0%} were meant to"
        )


def packet_costs() -> Iterator[PacketCost | Comparison]:
    """Measure; the shipped program with its default hash first, then its options and what changes ask of it."""
    driver = Driver()
    found: dict[tuple[str, str], float] = {}
    for scene in SCENES:
        fleet = make_fleet(scene.shape)
        with filled(fleet, scene.limits) as node:
            for traffic in scene.traffic:
                cost = _cost(driver, node, fleet, scene, traffic)
                found[scene.name, traffic.name] = cost.net_ns
                yield cost
    for name in (ONE_FLOW.name, MANY_FLOWS.name):
        more = found[EVERY_KEYED, name] - found[NONE_KEYED, name]
        yield Comparison(f"a bucket with alternates costs more, {name}", more, KEYED_NS, False, "ns")


def _cost(driver: Driver, node: NodeDataPlane, fleet: Fleet, scene: Scene, traffic: Traffic) -> PacketCost:
    driver.set_traffic(traffic)
    check(driver, node, fleet, traffic)
    with quiet_core():
        net = driver.measure(
            {"floor": driver.floor, scene.name: node.program}, PACKETS, min(2 * traffic.flows, 2 * PACKETS)
        )
    goal = PROGRAMS_NS.get(scene.name, {}).get(traffic.name)
    return PacketCost(scene.name, traffic.name, net[scene.name], net["floor"], goal)
