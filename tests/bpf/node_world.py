"""A small node for tests: pools of every hash, backends of every kind, VIPs of every kind; kernel and model alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lbnode.dataplane.model import NodeModel
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, Limits, NextHop, PoolTable, QuicRouting, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.model.vip import ANY_PORT, PortRange
from lbnode.netdev import bpffs
from ring.bucket import derive_keys

LOOPBACK = 1
"""BPF_PROG_TEST_RUN says that a packet came in by lo."""
OTHER_INTERFACE = 9
SIZE = 257
SECRET = bytes(range(32))
SMALL = Limits(table_places=8192, echoes_per_s=1_000_000_000, errors_per_s=1_000_000_000)
"""Answers without limit."""

OWN_MAC = bytes.fromhex("0200000000aa")

VIP = IPv4Address("192.0.2.10")
BY_SOURCE_VIP = IPv4Address("192.0.2.20")
SIP_VIP = IPv4Address("192.0.2.30")
OPEN_VIP = IPv4Address("192.0.2.40")
"""`wrong_port: pass`."""
UNREADY_VIP = IPv4Address("192.0.2.50")
BY_IPV6_VIP = IPv4Address("192.0.2.60")
"""Its packets go through IPv6 tunnels."""
QUIC_VIP = IPv4Address("192.0.2.70")
QUIC_VIP6 = IPv6Address("2001:db8::70")
NO_VIP = IPv4Address("192.0.2.99")
VIP6 = IPv6Address("2001:db8::10")
BY_SOURCE_VIP6 = IPv6Address("2001:db8::20")
SIP_VIP6 = IPv6Address("2001:db8::30")
OPEN_VIP6 = IPv6Address("2001:db8::40")
BY_IPV6_VIP6 = IPv6Address("2001:db8::60")
NO_VIP6 = IPv6Address("2001:db8::99")
LIKE_VIP = IPv6Address("::192.0.2.10")
"""The bytes of VIP: another address all the same."""
PREFIX = IPv4Network("203.0.113.0/28")
LONGER_PREFIX = IPv4Network("203.0.113.8/30")
BY_SOURCE_PREFIX = IPv4Network("203.0.112.0/22")
"""Holds the other two."""
PREFIX6 = IPv6Network("2001:db8:1::/64")
SOURCES = (
    IPv4Address("10.255.0.1"),
    IPv6Address("2001:db8:255::1"),
    IPv4Address("10.255.0.2"),
    IPv6Address("2001:db8:255::2"),
    IPv6Address("2001:db8:255::3"),
)

NEAR = NextHop(LOOPBACK, bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000b1"), 1500)
FAR = NextHop(OTHER_INTERFACE, bytes.fromhex("0200000000ab"), bytes.fromhex("0200000000c1"), 0)
UNKNOWN_BACKEND = 77

BACKENDS = (
    BackendEntry.of(
        BackendId(1), True, Tunnel(ip_address("10.1.0.1"), NEAR), Tunnel(ip_address("2001:db8:1::1"), FAR)
    ),
    BackendEntry.of(
        BackendId(2), True, Tunnel(ip_address("10.1.0.2"), FAR), Tunnel(ip_address("2001:db8:1::2"), NEAR)
    ),
    BackendEntry.of(
        BackendId(3),
        False,
        Tunnel(ip_address("255.255.255.254"), NEAR),
        Tunnel(ip_address("2001:db8:1::3"), NEAR),
    ),
    BackendEntry.of(BackendId(65535), True, Tunnel(ip_address("10.1.255.255"), NEAR)),
    BackendEntry.of(
        BackendId(5), True, Tunnel(ip_address("10.1.0.5"), None), Tunnel(ip_address("2001:db8:1::5"), NEAR)
    ),
)

VIPS = (
    VipEntry(VIP, Protocol.TCP, 80, PoolName("web")),
    VipEntry(VIP, Protocol.UDP, 53, PoolName("web")),
    VipEntry(VIP, Protocol.TCP, 65535, PoolName("sip")),
    VipEntry(BY_SOURCE_VIP, Protocol.TCP, 80, PoolName("sticky")),
    VipEntry(BY_SOURCE_VIP, Protocol.TCP, 443, PoolName("sticky")),
    VipEntry(BY_SOURCE_VIP, Protocol.UDP, 53, PoolName("sipsticky")),
    VipEntry(SIP_VIP, Protocol.TCP, 80, PoolName("sip")),
    VipEntry(OPEN_VIP, Protocol.TCP, 80, PoolName("web"), wrong_port_pass=True),
    VipEntry(OPEN_VIP, Protocol.TCP, 81, PoolName("web")),
    VipEntry(UNREADY_VIP, Protocol.TCP, 80, PoolName("later")),
    VipEntry(VIP6, Protocol.TCP, 80, PoolName("web")),
    VipEntry(VIP6, Protocol.UDP, 53, PoolName("web")),
    VipEntry(BY_SOURCE_VIP6, Protocol.TCP, 80, PoolName("sticky")),
    VipEntry(BY_SOURCE_VIP6, Protocol.UDP, 53, PoolName("sipsticky")),
    VipEntry(SIP_VIP6, Protocol.TCP, 80, PoolName("sip")),
    VipEntry(OPEN_VIP6, Protocol.TCP, 80, PoolName("web"), wrong_port_pass=True),
    VipEntry(BY_IPV6_VIP, Protocol.TCP, 80, PoolName("six")),
    VipEntry(BY_IPV6_VIP, Protocol.UDP, 53, PoolName("six")),
    VipEntry(BY_IPV6_VIP6, Protocol.TCP, 80, PoolName("six")),
    VipEntry(BY_IPV6_VIP6, Protocol.UDP, 53, PoolName("six")),
    VipEntry(QUIC_VIP, Protocol.UDP, 443, PoolName("quic")),
    VipEntry(QUIC_VIP, Protocol.TCP, 443, PoolName("quic")),
    VipEntry(QUIC_VIP6, Protocol.UDP, ANY_PORT, PoolName("quic")),
    # Of many ports: a range before any, one port before both.
    VipEntry(VIP, Protocol.TCP, PortRange(8000, 8099), PoolName("sticky")),
    VipEntry(VIP, Protocol.TCP, PortRange(1000, 1999), PoolName("sip")),
    VipEntry(SIP_VIP, Protocol.TCP, ANY_PORT, PoolName("web")),
    VipEntry(SIP_VIP, Protocol.TCP, PortRange(400, 500), PoolName("sipsticky")),
    # Of many addresses, one in the other.
    VipEntry(PREFIX, Protocol.TCP, ANY_PORT, PoolName("web")),
    VipEntry(PREFIX, Protocol.TCP, 443, PoolName("sip")),
    VipEntry(PREFIX, Protocol.UDP, ANY_PORT, PoolName("sticky")),
    VipEntry(LONGER_PREFIX, Protocol.TCP, PortRange(80, 81), PoolName("sticky"), wrong_port_pass=True),
    VipEntry(LONGER_PREFIX[1], Protocol.TCP, 22, PoolName("web")),
    VipEntry(LONGER_PREFIX[1], Protocol.UDP, 53, PoolName("web")),
    VipEntry(BY_SOURCE_PREFIX, Protocol.TCP, ANY_PORT, PoolName("sipsticky")),
    VipEntry(BY_SOURCE_PREFIX[9], Protocol.TCP, 80, PoolName("sipsticky")),
    VipEntry(PREFIX6, Protocol.TCP, PortRange(8000, 8099), PoolName("sip")),
    VipEntry(PREFIX6, Protocol.UDP, ANY_PORT, PoolName("sticky")),
    VipEntry(PREFIX6[1 << 63], Protocol.TCP, ANY_PORT, PoolName("web")),
)

MODES = {
    "web": (HashMode.FLOW, HashAlgorithm.MULTIPLY),
    "sticky": (HashMode.SOURCE, HashAlgorithm.MULTIPLY),
    "sip": (HashMode.FLOW, HashAlgorithm.SIPHASH),
    "sipsticky": (HashMode.SOURCE, HashAlgorithm.SIPHASH),
    "later": (HashMode.FLOW, HashAlgorithm.MULTIPLY),
    "six": (HashMode.FLOW, HashAlgorithm.MULTIPLY),
    "quic": (HashMode.FLOW, HashAlgorithm.MULTIPLY),
}
QUIC = QuicRouting(5, frozenset(map(BackendId, (1, 3, 5, 65535))))
"""Not of 2."""
IPV6_TUNNELS = ("six",)
NOT_YET = PoolName("later")
"""Staged, never switched."""


def make_table(name: str, epoch: int = 70001, size: int = SIZE) -> PoolTable:
    """Return a table with every kind of bucket: no owner, unknown owner, no, one and two alternates."""
    chance = np.random.default_rng(sorted(MODES).index(name))
    owners = chance.choice([0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 65535, 65535, 5, UNKNOWN_BACKEND], size)
    first = chance.choice([0, 0, 3, 65535], size)
    second = np.where(first > 0, chance.choice([0, 2], size), 0)
    mode, algorithm = MODES[name]
    keys = derive_keys(SECRET, len(name))
    return PoolTable(
        PoolName(name), EpochNumber(epoch), size, mode, algorithm, keys,
        owners.astype(np.uint16), first.astype(np.uint16), second.astype(np.uint16), f"digest-{epoch}",
        tunnel=6 if name in IPV6_TUNNELS else 4, quic=QUIC if name == "quic" else None,
    )  # fmt: skip


def make_model() -> NodeModel:
    """Return the model of what `fill` writes."""
    tables = [make_table(name) for name in MODES if name != NOT_YET]
    unready = [make_table(NOT_YET)]
    return NodeModel(tables, BACKENDS, VIPS, SOURCES, LOOPBACK, OWN_MAC, unready=unready)


def fill(node: NodeDataPlane) -> None:
    """Write this world to the kernel."""
    install(make_model(), node)


def install(model: NodeModel, node: NodeDataPlane) -> None:
    """Write to the kernel what `model` knows; its VIPs as far as their pools have tables."""
    for table in (*model.unready, *model.tables):
        node.stage(table)
    for table in model.tables:
        node.switch(table.pool)
    node.set_interfaces({model.ingress: model.own_mac})
    node.set_source(model.sources)
    node.set_backends(model.backends)
    known = node.tables()
    node.set_vips([vip for vip in model.vips if vip.pool in known])


@contextmanager
def mounted() -> Iterator[Path]:
    """Yield a fresh BPF file system; all pins in it end with it."""
    with TemporaryDirectory(prefix="evenkeel-test-") as name:
        directory = Path(name)
        bpffs.mount(directory)
        try:
            yield directory
        finally:
            bpffs.unmount(directory)
