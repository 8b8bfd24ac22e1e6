"""The node under trial: a world written into a real data plane, and the same world as a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.libbpf import Program
from lbnode.dataplane.model import NodeModel, Result, Verdict
from lbnode.dataplane.node import OBJECT, NodeDataPlane
from lbnode.dataplane.pins import Pins
from lbnode.dataplane.values import Count, Limits
from lbnode.model.ids import PoolName
from tests.fuzz.corruption import corrupt
from tests.fuzz.kernel import HEADROOM
from tests.fuzz.translation import backend_entry, tables_of, vip_entry
from tests.fuzz.trial import Expected, Key, Tally
from tests.fuzz.worlds import LOOPBACK, NodeWorld, Packet, PoolState

OBJECT_NAME = OBJECT.name
PLACES = 1 << 14
UNLIMITED = 1_000_000_000
"""Answers a second."""


def model_of(world: NodeWorld) -> NodeModel:
    """Return the model of a node in this world, before its changes; corrupt pools are taken for sound ones."""
    backends = [backend_entry(each) for each in world.backends]
    vips = [vip_entry(each) for each in world.vips]
    model = NodeModel((), backends, vips, world.sources, LOOPBACK, world.own_mac, answers=world.answers)
    return at_time(model, world, early=True)


def at_time(model: NodeModel, world: NodeWorld, early: bool) -> NodeModel:
    """Return the model with the tables of that time; it remembers the same flows."""
    tables = [tables_of(pool, early) for pool in world.pools]
    recorded: dict[PoolName, NDArray[np.bool_]] = {
        each.current.pool: each.staged.owners != each.current.owners
        for each in tables
        if each.current and each.staged and each.staged.flow_table
    }
    return replace(
        model,
        tables=[each.current for each in tables if each.current],
        recorded=recorded,
        unready=[each.staged for each in tables if each.staged and not each.current],
    )


def fill(node: NodeDataPlane, world: NodeWorld) -> None:
    """Write the world as it is before its changes, but for what is corrupt about it."""
    for pool in world.pools:
        tables = tables_of(pool, early=True)
        if tables.current:
            node.stage(tables.current)
            node.switch(tables.current.pool)
        if tables.staged:
            node.stage(tables.staged)
    node.set_interfaces({LOOPBACK: world.own_mac} if world.own_mac else {})
    node.set_source(world.sources)
    node.set_backends([backend_entry(each) for each in world.backends])
    node.set_vips([vip_entry(each) for each in world.vips])


def change(node: NodeDataPlane, world: NodeWorld) -> None:
    """Let the world's changes happen."""
    for pool in world.pools:
        if pool.past and pool.state is not PoolState.UNREADY:
            node.switch(PoolName(pool.name))
            following = tables_of(pool, early=False).staged
            if following:
                node.stage(following)


@dataclass(slots=True)
class NodeSubject:
    """A node's program on maps that hold `world`."""

    world: NodeWorld
    node: NodeDataPlane
    model: NodeModel

    @property
    def program(self) -> Program:
        return self.node.program

    def frame(self, packet: Packet) -> bytes:
        return packet.data

    def advance(self) -> None:
        change(self.node, self.world)
        self.model = at_time(self.model, self.world, early=False)

    def expect(self, frame: bytes, metadata: int) -> Expected:
        result = self.model.process(frame, HEADROOM - metadata)
        broken = {pool.name for pool in self.world.pools if pool.state is PoolState.CORRUPT}
        if broken and result.vip is not None and result.vip.pool in broken:
            notes = tuple(note for note in result.notes if note.startswith("fragment"))
            result = Result(
                "drop_inconsistent", Verdict.DROP, frame, notes=notes, vip=result.vip, bucket=result.bucket
            )
        counts = self._counts(result, len(frame))
        return Expected(result.outcome, result.verdict, result.frame, counts, result.ifindex)

    def _counts(self, result: Result, size: int) -> tuple[tuple[Key, int], ...]:
        counts: list[tuple[Key, int]] = [(("outcome", result.outcome), size)]
        counts += [(("outcome", note), 0) for note in result.notes]
        if result.vip is not None and self.world.count_buckets and result.bucket is not None:
            counts.append((("bucket", (result.vip.pool, result.bucket)), 0))
        if result.vip is not None and result.backend is not None:
            vip = (result.vip.address, result.vip.protocol, result.vip.port)
            counts += [(("vip", vip), size), (("backend", result.backend), size)]
        return tuple(counts)

    def counted(self) -> Tally:
        found: dict[Key, Count] = {("outcome", name): count for name, count in self.node.counters().items()}
        found |= {("vip", key): count for key, count in self.node.vip_counters().items()}
        found |= {("backend", number): count for number, count in self.node.backend_counters().items()}
        tally = Tally()
        for key, count in found.items():
            tally.packets[key], tally.bytes[key] = count
        if self.world.count_buckets:
            for pool in self.world.pools:
                for bucket, packets in enumerate(self.node.bucket_packets(PoolName(pool.name))):
                    tally.packets["bucket", (pool.name, bucket)] = int(packets)
        return tally


@contextmanager
def open_node(world: NodeWorld, directory: Path, objects: Path = OBJECT.parent) -> Iterator[NodeSubject]:
    """Load the program on fresh maps in `directory` (on bpffs, empty) and write the world into them."""
    rate = UNLIMITED if world.answers else 0
    limits = Limits(PLACES, world.count_buckets, 1 << 14, 1 << 14, rate, rate, 1 << 14)
    path = objects / OBJECT_NAME
    try:
        with NodeDataPlane.open(directory, limits, path) as node:
            fill(node, world)
            if any(pool.state is PoolState.CORRUPT for pool in world.pools):
                corrupt(directory / "node", path, world.pools)
            yield NodeSubject(world, node, model_of(world))
    finally:
        Pins(directory).remove()
