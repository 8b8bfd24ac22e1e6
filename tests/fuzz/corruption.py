"""Maps that contradict themselves: what no daemon writes, and the programs must be safe from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject, Map
from lbnode.dataplane.memory import NodeMemory
from tests.fuzz.worlds import Pool, PoolState

BEYOND = 0x1FFF
"""A row of `tables` that there is not."""


def corrupt(pins: Path, object_path: Path, pools: Iterable[Pool]) -> None:
    """In the maps pinned below `pins`, let corrupt pools say that their table is at row `BEYOND`.

    Pools that are not ready say that they have none.
    """
    with BpfObject.open(object_path) as each:
        layout = Layout.of(each.btf)
    maps = {name: Map.open_pinned(pins / name) for name in MAPS}
    memory = NodeMemory(maps, layout)
    numbers = {bytes(name).decode(): number for number, name in enumerate(memory.pool_records["name"])}
    beyond = BEYOND * layout["TABLE_ROW"] << 32
    for pool in pools:
        number = numbers[pool.name]
        if pool.state is PoolState.CORRUPT:
            memory.current[number] = np.uint64(beyond | int(memory.current[number]) & 0xFFFFFFFF)
        if pool.state is PoolState.UNREADY:
            memory.current[number] = 0
    for opened in maps.values():
        opened.close()
