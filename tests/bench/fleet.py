"""The fleet that is measured: 256 VIPs, two pools, 100 backends, M = 65537, 5 % of the buckets with alternates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, NextHop, PoolTable, QuicRouting, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.model.tunnel import IPVersion
from ring.bucket import derive_keys

TABLE_SIZE = 65537
VIPS = 256
BACKENDS = 100
KEYED_SHARE = 0.05
PORT = 443
SECRET = bytes(range(32))
FIRST_VIP = IPv4Address("198.51.100.0")
FIRST_VIP6 = IPv6Address("2001:db8:100::")
SOURCES = (IPv4Address("10.255.0.1"), IPv6Address("2001:db8:255::1"))
OWN_MAC = bytes.fromhex("0200000000aa")
LOOPBACK = 1
"""The interface that BPF_PROG_TEST_RUN says a packet came in by."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of the fleet differs from one measurement to the next."""

    algorithm: HashAlgorithm = HashAlgorithm.MULTIPLY
    protocol: Protocol = Protocol.TCP
    keyed_share: float = KEYED_SHARE
    """Of the buckets: those with two alternates."""
    agents: bool = True
    flow_table: bool = False
    quic: bool = False
    ipv6: bool = False
    """Clients and VIPs are of IPv6."""
    tunnel: IPVersion = 4
    recorded: bool = False
    """A table is staged that gives every bucket to another owner."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is written to the kernel, and what the model needs to say the same."""

    shape: Shape
    tables: tuple[PoolTable, ...]
    staged: tuple[PoolTable, ...]
    backends: tuple[BackendEntry, ...]
    vips: tuple[VipEntry, ...]


HOP = NextHop(LOOPBACK, bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), 1600)


def make_fleet(shape: Shape | None = None, hop: NextHop = HOP) -> Fleet:
    """Return the fleet, its backends behind `hop`; the same each time."""
    shape = shape or Shape()
    tables = tuple(make_table(PoolName(name), seed, shape) for seed, name in enumerate(("web", "api"), 1))
    backends = tuple(
        BackendEntry.of(
            BackendId(n),
            shape.agents,
            Tunnel(ip_address(f"10.1.{n // 250}.{n % 250}"), hop),
            Tunnel(ip_address(f"2001:db8:1::{n:x}"), hop),
        )
        for n in range(1, BACKENDS + 1)
    )
    first = FIRST_VIP6 if shape.ipv6 else FIRST_VIP
    vips = tuple(VipEntry(first + n, shape.protocol, PORT, tables[n % len(tables)].pool) for n in range(VIPS))
    staged = tuple(
        replace(table, epoch=EpochNumber(table.epoch + 1), owners=table.owners % BACKENDS + 1)
        for table in tables
        if shape.recorded
    )
    return Fleet(shape, tables, staged, backends, vips)


def make_table(pool: PoolName, seed: int, shape: Shape, epoch: int = 7) -> PoolTable:
    """Return a table of random owners; those buckets that have alternates have two, all three different."""
    chance = np.random.default_rng(seed)
    owners, step, further = (chance.integers(1, BACKENDS // 3, TABLE_SIZE, dtype=np.uint16) for _ in range(3))
    owners *= np.uint16(3)
    keyed: NDArray[np.uint16] = (chance.random(TABLE_SIZE) < shape.keyed_share).astype(np.uint16)
    first, second = (step * 3 - 1) * keyed, (further * 3 - 2) * keyed
    return PoolTable(
        pool, EpochNumber(epoch), TABLE_SIZE, HashMode.FLOW, shape.algorithm, derive_keys(SECRET, seed),
        owners, first, second, flow_table=shape.flow_table, tunnel=shape.tunnel,
        quic=QuicRouting(0, frozenset(map(BackendId, range(1, BACKENDS + 1)))) if shape.quic else None,
    )  # fmt: skip


def install(fleet: Fleet, node: NodeDataPlane, interface: int = LOOPBACK) -> None:
    """Write the fleet to the kernel as the daemon does; packets come by `interface`."""
    for table in fleet.tables:
        node.stage(table)
        node.switch(table.pool)
    for table in fleet.staged:
        node.stage(table)
    node.set_interfaces({interface: OWN_MAC})
    node.set_source(SOURCES)
    node.set_backends(fleet.backends)
    node.set_vips(fleet.vips)
