"""What a large fleet takes: 1,000 VIPs, 10,000 backends in 100 pools; and one backend's change in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, Limits, NextHop, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from ring import table
from ring.bucket import derive_keys
from ring.slots import Slot
from tests.bench.fleet import FIRST_VIP, LOOPBACK, SECRET, TABLE_SIZE, Fleet, Shape, make_fleet
from tests.bench.packets import filled

HEAD = "1,000 VIPs, 10,000 backends in 100 pools"
POOLS, VIPS, BACKENDS = 100, 1000, 10_000
MEMBERS = BACKENDS // POOLS
ROUNDS = 9
PAUSE_S = 0.05
"""Between changes: a grace period passes beside it, as it does between those of a fleet."""
LARGE_SIZE = 655_373
LIMITS = Limits(table_places=2 * POOLS * (TABLE_SIZE + 8))
MIB = 1 << 20
HOP = NextHop(LOOPBACK, bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), 1600)


@dataclass(frozen=True, slots=True)
class SizeCost:
    """One line: MiB or median ms, as `unit` says."""

    what: str
    amount: float
    unit: str

    @property
    def row(self) -> str:
        """A line of the table."""
        return f"{self.what:<52}{self.amount:>10.2f} {self.unit}"

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {**asdict(self), "what": "size", "of": self.what}


def size_costs() -> Iterator[SizeCost]:
    """Measure the memory of the maps and of the process, then changes of one thing among all."""
    process = psutil.Process()
    before = _own(process)
    slots = {number: _slots(number) for number in range(POOLS)}
    fleet = Fleet(
        Shape(), tuple(_table(number, slots[number], 1) for number in slots), (), _backends(), _vips()
    )
    ready = _own(process)
    with filled(fleet, LIMITS) as node:
        full = _own(process)
        yield SizeCost("kernel: maps of the node", _maps() / MIB, "MiB")
        yield SizeCost("daemon: tables, backends and VIPs as values", (ready - before) / MIB, "MiB")
        yield SizeCost("daemon: what the data plane adds", (full - ready) / MIB, "MiB")
        yield SizeCost("one backend fails: epoch to kernel", _failure(node, slots[0]), "ms")
        yield SizeCost("one backend's next hop", _next_hop(node, fleet.backends, PAUSE_S), "ms")
        yield SizeCost("the same, one right after the other", _next_hop(node, fleet.backends, 0), "ms")
        yield SizeCost("one VIP more or less", _vip(node, fleet.vips), "ms")
    yield from _large()


def _own(process: psutil.Process) -> int:
    """Bytes of the process that are no shared memory: maps that it has mapped are the kernel's."""
    memory = process.memory_info()
    return memory.rss - memory.shared


def _maps() -> int:
    """Bytes of all BPF maps that this process holds open, each counted once."""
    sizes = {}
    for link in Path("/proc/self/fdinfo").iterdir():
        fields = dict(line.split(":", 1) for line in _lines(link) if ":" in line)
        if "map_id" in fields:
            sizes[fields["map_id"].strip()] = int(fields["memlock"])
    return sum(sizes.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _slots(pool: int) -> tuple[Slot, ...]:
    return tuple(Slot(number, backend=1 + pool * MEMBERS + number) for number in range(MEMBERS))


def _table(
    pool: int,
    slots: tuple[Slot, ...],
    epoch: int,
    before: tuple[tuple[Slot, ...], ...] = (),
    size: int = TABLE_SIZE,
) -> PoolTable:
    built = table.build(size, pool, slots, before)
    owners, first, second = (np.asarray(column) for column in (built.owners, built.first, built.second))
    return PoolTable(
        PoolName(f"pool-{pool}"), EpochNumber(epoch), size, HashMode.FLOW, HashAlgorithm.MULTIPLY,
        derive_keys(SECRET, pool), owners, first, second,
    )  # fmt: skip


def _backends() -> tuple[BackendEntry, ...]:
    first = IPv4Address("10.1.0.0")
    return tuple(
        BackendEntry.of(BackendId(number), True, Tunnel(first + number, HOP))
        for number in range(1, BACKENDS + 1)
    )


def _vips() -> tuple[VipEntry, ...]:
    return tuple(
        VipEntry(
            FIRST_VIP + number % 200, Protocol.TCP, 80 + number // 200, PoolName(f"pool-{number % POOLS}")
        )
        for number in range(VIPS)
    )


def _failure(node: NodeDataPlane, slots: tuple[Slot, ...]) -> float:
    """From the epoch to the table that carries traffic, each time another backend."""
    pool, times = PoolName("pool-0"), []
    for number in range(ROUNDS):
        failed = tuple(replace(slot, active=slot.number != number) for slot in slots)

        def change(failed: tuple[Slot, ...] = failed, epoch: int = number + 2) -> None:
            node.stage(_table(0, failed, epoch, (slots,)))
            node.switch(pool)

        times.append(_timed(change))
    return median(times)


def _next_hop(node: NodeDataPlane, backends: tuple[BackendEntry, ...], pause_s: float) -> float:
    times = []
    for number in range(ROUNDS):
        hop = replace(HOP, destination_mac=bytes([2, 0, 0, 0, 1, number]))
        moved = BackendEntry.of(backends[7].id, True, Tunnel(IPv4Address("10.1.0.8"), hop))
        changed = (*backends[:7], moved, *backends[8:])
        time.sleep(pause_s)
        times.append(_timed(partial(node.set_backends, changed)))
    return median(times)


def _vip(node: NodeDataPlane, vips: tuple[VipEntry, ...]) -> float:
    times = []
    for number in range(1, ROUNDS + 1):
        time.sleep(PAUSE_S)
        times.append(_timed(partial(node.set_vips, vips[number % 2 :])))
    return median(times)


def _install(node: NodeDataPlane, built: PoolTable) -> None:
    node.stage(built)
    node.switch(built.pool)


def _large() -> Iterator[SizeCost]:
    """A table larger than a row of its map."""
    slots = tuple(Slot(number, backend=number + 1) for number in range(1000))
    building, installing = [], []
    with filled(make_fleet(), Limits(table_places=3 * LARGE_SIZE)) as node:
        for epoch in range(1, ROUNDS + 1):
            building.append(_timed(partial(table.build, LARGE_SIZE, epoch, slots)))
            built = _table(POOLS, slots, epoch, size=LARGE_SIZE)
            installing.append(_timed(partial(_install, node, built)))
    of = f"a table of {LARGE_SIZE:,} buckets, 1,000 backends: "
    yield SizeCost(of + "build", median(building), "ms")
    yield SizeCost(of + "to kernel", median(installing), "ms")


def _timed(work: Callable[[], object]) -> float:
    before = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - before) / 1e6
