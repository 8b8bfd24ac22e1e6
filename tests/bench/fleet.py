"""The fleet that is measured: 256 VIPs, two pools, 100 backends, M = 65537, 5 % of the buckets with a key."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, NextHop, PoolTable, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from ring.bucket import derive_keys

TABLE_SIZE = 65537
VIPS = 256
BACKENDS = 100
KEYED_SHARE = 0.05
PORT = 443
SECRET = bytes(range(32))
FIRST_VIP = IPv4Address("198.51.100.0")
SOURCE = IPv4Address("10.255.0.1")
OWN_MAC = bytes.fromhex("0200000000aa")
LOOPBACK = 1
"""The interface that BPF_PROG_TEST_RUN says a packet came in by."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is written to the kernel, and what the model needs to say the same."""

    tables: tuple[PoolTable, ...]
    backends: tuple[BackendEntry, ...]
    vips: tuple[VipEntry, ...]
    source: IPv4Address = SOURCE


def make_fleet(algorithm: HashAlgorithm = HashAlgorithm.MULTIPLY) -> Fleet:
    """Return the fleet; the same each time."""
    tables = tuple(make_table(PoolName(name), seed, algorithm) for seed, name in enumerate(("web", "api"), 1))
    hop = NextHop(LOOPBACK, bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), 1600)
    backends = tuple(
        BackendEntry(BackendId(n), ip_address(f"10.1.{n // 250}.{n % 250}"), True, hop)
        for n in range(1, BACKENDS + 1)
    )
    vips = tuple(
        VipEntry(FIRST_VIP + n, Protocol.TCP, PORT, tables[n % len(tables)].pool) for n in range(VIPS)
    )
    return Fleet(tables, backends, vips)


def make_table(pool: PoolName, seed: int, algorithm: HashAlgorithm, epoch: int = 7) -> PoolTable:
    """Return a table of random owners, one bucket in twenty with two alternates."""
    chance = np.random.default_rng(seed)
    owners, first, second = (chance.integers(1, BACKENDS + 1, TABLE_SIZE, dtype=np.uint16) for _ in range(3))
    keyed: NDArray[np.uint16] = (chance.random(TABLE_SIZE) < KEYED_SHARE).astype(np.uint16)
    return PoolTable(
        pool, EpochNumber(epoch), TABLE_SIZE, HashMode.FLOW, algorithm, derive_keys(SECRET, seed),
        owners, first * keyed, second * keyed,
    )  # fmt: skip


def install(fleet: Fleet, node: NodeDataPlane) -> None:
    """Write the fleet to the kernel as the daemon does."""
    for table in fleet.tables:
        node.stage(table)
        node.switch(table.pool)
    node.set_interfaces({LOOPBACK: OWN_MAC})
    node.set_source([fleet.source])
    node.set_backends(fleet.backends)
    node.set_vips(fleet.vips)
