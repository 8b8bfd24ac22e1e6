"""Which node carries which flow, from the nodes' own counters: packets per bucket, counted in the kernel.

Every flow of a drill has a bucket of its own (`choose_ports` sees to that), so the packets of a bucket are
the packets of a flow. A node carried a flow in some span of time exactly if its counter of the bucket grew
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbnode.lab.errors import LabError

Counts = NDArray[np.uint64]
"""Packets of each flow, shape (flows,)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of all nodes at one time, by node."""

    counts: Mapping[str, Counts]

    def since(self, earlier: Sample) -> dict[str, Counts]:
        """Packets of each flow that each node carried since `earlier`; a node new since then began at 0."""
        return {node: _growth(count, earlier.counts.get(node)) for node, count in self.counts.items()}


def carriers(earlier: Sample, later: Sample) -> list[str | None]:
    """Return for each flow the node that carried most of its packets between two samples; None: none did."""
    grown = later.since(earlier)
    if not grown:
        return []
    nodes = list(grown)
    packets = np.stack([grown[node] for node in nodes])
    return [
        nodes[most] if total else None
        for most, total in zip(packets.argmax(axis=0), packets.sum(axis=0), strict=True)
    ]


def changed(before: Sequence[str | None], earlier: Sample, later: Sample) -> int:
    """Count the flows of which a node other than their carrier `before` carried a packet between two samples.

    A flow that came back to its node in between has changed node all the same. One without a known carrier
    is not counted.
    """
    grown = later.since(earlier)
    return sum(
        1
        for flow, carrier in enumerate(before)
        if carrier is not None and any(packets[flow] for node, packets in grown.items() if node != carrier)
    )


def choose_ports(
    candidates: Iterable[int], bucket_of: Callable[[int], int], wanted: int
) -> tuple[list[int], list[int]]:
    """Return `wanted` source ports whose flows fall into different buckets, and those buckets.

    Raises LabError when the candidates do not suffice.
    """
    ports: dict[int, int] = {}
    for port in candidates:
        if len(ports) == wanted:
            break
        ports.setdefault(bucket_of(port), port)
    if len(ports) < wanted:
        raise LabError(
            f"{wanted} flows: only {len(ports)} have buckets of their own: ask for fewer (--flows)"
        )
    return list(ports.values()), list(ports)


def _growth(now: Counts, before: Counts | None) -> Counts:
    """Counters only grow; one that is smaller began anew."""
    if before is None:
        return now
    return np.where(now >= before, now - before, now)
