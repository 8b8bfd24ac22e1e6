"""Reading a node's pinned maps from another process: no daemon is asked, nothing is loaded or written."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.errors import PinError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.pins import Pins
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.values import Count, PoolTables
from lbnode.model.ids import PoolName


class Inspection:
    """What an instance has in the kernel at the time of each call."""

    def __init__(self, memory: NodeMemory) -> None:
        self._memory = memory

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Look at the maps pinned in `directory`; raises PinError or LayoutError."""
        pins = Pins(directory)
        if pins.making is None:
            raise PinError(f"inspect {directory}: no node's maps are pinned there: is lbnode running?")
        layout = _layout()
        maps = pins.maps_like(layout.digest, MAPS)
        memory = NodeMemory(maps, layout)
        for opened in maps.values():
            opened.close()
        return cls(memory)

    def tables(self) -> dict[PoolName, PoolTables]:
        """Return which epochs the kernel holds."""
        return Tables(self._memory, Grace()).loaded()

    def digests(self) -> dict[PoolName, str]:
        """Return the digests of the tables in use, counted from their buckets."""
        return Tables(self._memory, Grace()).digests()

    def counters(self) -> dict[str, Count]:
        """Return packets and bytes by outcome."""
        outcomes = self._memory.layout.outcomes
        counts = CounterRows(self._memory, Grace()).read(list(range(len(outcomes))))
        return dict(zip(outcomes, counts, strict=True))

    def bucket_packets(self, pool: PoolName) -> NDArray[np.uint64]:
        """Return the packets of each bucket; raises DataPlaneError unless the node counts them."""
        return Tables(self._memory, Grace()).bucket_packets(pool)


@cache
def _layout() -> Layout:
    with BpfObject.open(OBJECT) as node:
        return Layout.of(node.btf)
