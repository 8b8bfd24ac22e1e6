"""What a node's data plane holds, read from its pins: the daemon need not run, and nothing is changed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lbnode.dataplane.grace import Grace
from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject, XdpLink, xdp_mode
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.pins import Pins
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.tunnels import Backends
from lbnode.dataplane.values import Count
from lbnode.dataplane.vips import Vips
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.model.vip import VipKey


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """The epoch that carries each pool's traffic (0: none), the interfaces by index, what was counted.

    `counters` are by outcome; those of VIPs, pools and backends count what was forwarded.
    """

    epochs: dict[PoolName, EpochNumber]
    counters: dict[str, Count]
    xdp: dict[int, str]
    vips: dict[VipKey, Count] = field(default_factory=dict)
    pools: dict[PoolName, Count] = field(default_factory=dict)
    backends: dict[BackendId, Count] = field(default_factory=dict)


def read_node(directory: Path) -> NodeSnapshot | None:
    """Return what is pinned in `directory`; None when nothing is.

    Raises PinError, and LayoutError when the maps were made by a release whose structures differ.
    """
    pins = Pins(directory)
    if pins.making is None:
        return None
    memory, grace = _memory(pins), Grace()
    rows = CounterRows(memory, grace)
    vips = Vips(memory, grace, rows, Tables(memory, grace))
    return NodeSnapshot(
        epochs=_epochs(memory),
        counters=rows.read_by({name: row for row, name in enumerate(memory.layout.outcomes)}),
        xdp=_interfaces(pins),
        vips=vips.counters(),
        pools=vips.counters_by_pool(),
        backends=Backends(memory, grace, rows).counters(),
    )


def _memory(pins: Pins) -> NodeMemory:
    with BpfObject.open(OBJECT) as each:
        layout = Layout.of(each.btf)
    maps = pins.maps_like(layout.digest, MAPS)
    try:
        return NodeMemory(maps, layout)
    finally:
        for opened in maps.values():
            opened.close()


def _epochs(memory: NodeMemory) -> dict[PoolName, EpochNumber]:
    found = {}
    for number in np.flatnonzero(memory.pool_records["name"] != b""):
        base = int(memory.current[number]) >> 32
        record = memory.pool_records[number]
        epochs = [int(table["epoch"]) for table in record["table"] if base and int(table["base"]) == base]
        found[PoolName(record["name"].decode())] = EpochNumber(max(epochs, default=0))
    return found


def _interfaces(pins: Pins) -> dict[int, str]:
    found = {}
    for path in pins.link_paths():
        with contextlib.closing(XdpLink.open_pinned(path)) as link:
            mode = xdp_mode(link.ifindex) if link.ifindex else None
            if mode is not None:
                found[link.ifindex] = mode.name.lower()
    return found
