"""What the watch saw, as values that survive in a file: switches, tables, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.uint16]
"""Owner, first and second alternate of each bucket as backend ids (0: none), shape (size, 3)."""
OTHER_TABLE = 1_000_000
"""Tables that differ from the first one with the same epoch number are kept under numbers above this one."""

TABLE = "table_"


@dataclass(frozen=True, slots=True)
class Switch:
    """At `at` (monotonic seconds) a node's kernel was first seen to use `epoch` (0: no table at all)."""

    at: float
    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Activity:
    """Buckets that had packets in the half second before `at`; `nodes` has a bit for each node that carried them.

    Both arrays have one entry a bucket.
    """

    at: float
    buckets: NDArray[np.uint32]
    nodes: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Sightings:
    """Everything. `nodes` are in the order of their bits; `packets` counts by node.

    A switch to another table than that which the first node had under the same number has that number plus a
    multiple of OTHER_TABLE.
    """

    nodes: tuple[str, ...]
    switches: tuple[Switch, ...]
    tables: Mapping[int, Table]
    samples: tuple[Activity, ...]
    packets: Mapping[str, int]

    def save(self, path: Path) -> None:
        """Write everything into one NumPy archive."""
        lengths = [len(sample.buckets) for sample in self.samples]
        empty = np.zeros(0, dtype=np.uint32)
        columns: dict[str, NDArray[Any]] = {
            "nodes": np.array(self.nodes, dtype=str),
            "sample_at": np.array([sample.at for sample in self.samples]),
            "sample_end": np.cumsum(np.array(lengths, dtype=np.int64)),
            "sample_buckets": np.concatenate([empty, *(sample.buckets for sample in self.samples)]),
            "sample_nodes": np.concatenate([empty, *(sample.nodes for sample in self.samples)]),
            "packets": np.array([self.packets.get(node, 0) for node in self.nodes], dtype=np.int64),
            "switch_at": np.array([switch.at for switch in self.switches], dtype=np.float64),
            "switch_node": np.array([switch.node for switch in self.switches], dtype=str),
            "switch_epoch": np.array([switch.epoch for switch in self.switches], dtype=np.int64),
            **{f"{TABLE}{epoch}": table for epoch, table in self.tables.items()},
        }
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **columns)

    @classmethod
    def load(cls, path: Path) -> Sightings:
        """Read what `save` wrote."""
        with np.load(path) as file:
            columns = dict(file)
        ends = columns["sample_end"].tolist()
        spans = zip([0, *ends], ends, columns["sample_at"].tolist(), strict=False)
        nodes = tuple(columns["nodes"].tolist())
        return cls(
            nodes=nodes,
            switches=_switches(columns),
            tables={
                int(name.removeprefix(TABLE)): column
                for name, column in columns.items()
                if name.startswith(TABLE)
            },
            samples=tuple(
                Activity(at, columns["sample_buckets"][start:end], columns["sample_nodes"][start:end])
                for start, end, at in spans
            ),
            packets=dict(zip(nodes, columns["packets"].tolist(), strict=True)),
        )


def _switches(columns: Mapping[str, NDArray[Any]]) -> tuple[Switch, ...]:
    rows = zip(*(columns[f"switch_{field}"].tolist() for field in ("at", "node", "epoch")), strict=True)
    return tuple(Switch(at, node, epoch) for at, node, epoch in rows)
