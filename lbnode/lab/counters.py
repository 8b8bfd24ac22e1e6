"""Reading the nodes' packet counters per bucket, from the pinned maps that their programs count in.

The lab looks at the maps itself and asks no daemon: a node whose daemon is dead, or whose links are cut,
counts all the same. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.pins import Pins
from lbnode.lab import configs
from lbnode.lab.carriers import Counts, Sample
from lbnode.lab.errors import LabError
from lbnode.lab.plan import POOL
from lbnode.lab.running import RunningLab


def read_sample(lab: RunningLab, buckets: Sequence[int]) -> Sample:
    """Return the packets that each node has counted in each of `buckets` of the lab's pool.

    Raises LabError when a node's maps cannot be read.
    """
    return Sample({node.name: _read(lab, node.name)[list(buckets)] for node in lab.nodes})


def _read(lab: RunningLab, node: str) -> Counts:
    """The counters of all buckets of the pool on one node."""
    pins = Pins(configs.run_dir(lab.directory(node)) / "bpf")
    try:
        maps = pins.maps(MAPS)
        memory = NodeMemory(maps, _layout())
        for opened in maps.values():
            opened.close()
    except DataPlaneError as error:
        raise LabError(f"read the packet counters of {node}: {error}") from error
    numbers = np.flatnonzero(memory.pool_records["name"] == POOL.encode())
    if len(numbers) != 1:
        raise LabError(f"read the packet counters of {node}: it has no table of pool {POOL}")
    pool = memory.pools[int(numbers[0])]
    start = int(pool["bucket_counts"])
    return memory.bucket_counts[start : start + int(pool["size"])].copy()


@cache
def _layout() -> Layout:
    """The structures in the maps, from the object that made them."""
    with BpfObject.open(OBJECT) as node:
        return Layout.of(node.btf)
