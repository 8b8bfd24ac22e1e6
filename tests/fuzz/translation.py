"""Worlds in the data plane's own values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

import numpy as np

from lbnode.dataplane.values import BackendEntry, NextHop, PoolTable, QuicRouting, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.model.vip import PortRange, vip_address
from ring.bucket import derive_keys
from tests.fuzz.worlds import Backend, Pool, PoolState, Row, Vip, Way

SECRET = bytes(range(32))


def table_of(pool: Pool, rows: Sequence[Row], epoch: int) -> PoolTable:
    """Return a table of the pool whose buckets are `rows`, repeated."""
    filled = np.resize(np.array(rows, dtype=np.uint16), (pool.size, 3))
    owners, first, second = (filled[:, column].copy() for column in range(3))
    return PoolTable(
        PoolName(pool.name), EpochNumber(epoch), pool.size,
        HashMode.SOURCE if pool.by_source else HashMode.FLOW,
        HashAlgorithm.SIPHASH if pool.siphash else HashAlgorithm.MULTIPLY,
        derive_keys(SECRET, pool.seed), owners, first, second,
        flow_table=pool.flow_table, failed=frozenset(map(BackendId, pool.failed)),
        tunnel=pool.tunnel, local=pool.local,
        quic=QuicRouting(pool.quic, frozenset(map(BackendId, pool.named))) if pool.quic is not None else None,
    )  # fmt: skip


def vip_entry(vip: Vip) -> VipEntry:
    """Return the VIP, whatever it is of."""
    network = ip_network((vip.address, vip.length if vip.length is not None else vip.address.max_prefixlen))
    port = vip.port if vip.last_port in (None, vip.port) else PortRange(vip.port, vip.last_port or vip.port)
    protocol, pool = Protocol(vip.protocol), PoolName(vip.pool)
    return VipEntry(vip_address(network), protocol, port, pool, vip.wrong_port_pass)


def backend_entry(backend: Backend) -> BackendEntry:
    """Return the backend with MAC addresses that follow from its id."""
    tunnels = (_tunnel(way, backend.id) for way in backend.ways)
    return BackendEntry.of(BackendId(backend.id), backend.agent, *tunnels)


def _tunnel(way: Way, number: int) -> Tunnel:
    macs = [bytes([2, side, 0, way.address.version, *number.to_bytes(2, "big")]) for side in (0, 0xB)]
    return Tunnel(way.address, NextHop(way.ifindex, macs[0], macs[1], way.mtu) if way.ifindex else None)


@dataclass(frozen=True, slots=True)
class Tables:
    """A pool's tables at one time: the one that carries traffic, and the one that waits."""

    current: PoolTable | None
    staged: PoolTable | None


def present(pool: Pool) -> PoolTable:
    """Return the table that is current in the end, or would be."""
    return table_of(pool, pool.buckets, pool.epoch)


def tables_of(pool: Pool, early: bool) -> Tables:
    """Return the pool's tables before (`early`) or after its change."""
    now = present(pool)
    if pool.state is PoolState.UNREADY:
        return Tables(None, now)
    if early and pool.past:
        return Tables(table_of(pool, pool.past, max(1, pool.epoch - 1)), now)
    return Tables(now, table_of(pool, pool.staged, pool.epoch + 1) if pool.staged else None)
