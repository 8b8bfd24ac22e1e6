"""The node's data plane: one object for all that the daemon tells the kernel, and hears from it.

Maps and links are pinned: closing this object, or losing the process, changes nothing for the packets. The next
`open` finds the maps, adopts what is in them, and replaces the program through the links when it is another one. Maps
of another making (another release's, other sizes) are left alone with their program until this one's own are filled.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.attachments import Attachments
from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.interfaces import set_interfaces
from lbnode.dataplane.layout import SHARED_MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject, Program, possible_cpus
from lbnode.dataplane.making import Making
from lbnode.dataplane.memory import NODE_MAPS, NodeMemory
from lbnode.dataplane.pins import Pins
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.tunnels import Backends, set_sources, source_families
from lbnode.dataplane.values import (
    Attachment,
    BackendEntry,
    Count,
    Limits,
    PoolTable,
    PoolTables,
    VipEntry,
)
from lbnode.dataplane.vips import Vips
from lbnode.model.ids import BackendId, IPAddress, PoolName
from lbnode.model.vip import VipKey

OBJECT = Path(__file__).resolve().parent.parent / "bpf" / "build" / "node.bpf.o"
PROGRAM = "node"
NANOSECONDS = 1_000_000_000


class NodeDataPlane:
    """The kernel's side of one node. Every `set_…` takes the whole desired set."""

    def __init__(
        self, pins: Pins, making: Making, program: Program, memory: NodeMemory, is_adopted: bool
    ) -> None:
        self.program = program
        self.is_adopted = is_adopted
        self.replaced: list[int] = []
        """The interfaces on which another program ran before this one."""
        self._pins = pins
        self._making = making
        self._memory = memory
        grace = Grace()
        if is_adopted:
            grace.wait()
        self._rows = CounterRows(memory, grace)
        self._tables = Tables(memory, grace)
        self._backends = Backends(memory, grace, self._rows)
        self._entries: tuple[BackendEntry, ...] | None = None
        self._vips = Vips(memory, grace, self._rows, self._tables)
        self._attachments = Attachments(pins, program)
        self.is_waiting = not is_adopted and self._attachments.exist
        """Whether packets still go by the maps of another making: until `take_over`."""
        if not self.is_waiting:
            self.take_over()

    @classmethod
    def open(cls, directory: Path, limits: Limits | None = None, object_path: Path = OBJECT) -> Self:
        """Adopt what is pinned in `directory` (on a mounted bpffs), or make and pin it.

        What is pinned for another layout, or for other `limits`, goes on carrying packets until `take_over`. Raises
        LibraryError, RightsError, LoadError, PinError.
        """
        pins = Pins(directory)
        with BpfObject.open(object_path) as each:
            layout = Layout.of(each.btf)
            making = _prepare(each, layout, limits or Limits())
            adopted = pins.adopt(making, NODE_MAPS)
            reused = adopted if adopted is not None else pins.share(making, SHARED_MAPS)
            for name, existing in reused.items():
                each.reuse(name, existing)
            each.load()
            maps = reused | {name: each.map(name) for name in NODE_MAPS if name not in reused}
            program = each.program(PROGRAM)
        memory = NodeMemory(maps, layout)
        if adopted is None:
            memory.control["table_places"] = (limits or Limits()).table_places
            pins.add(making, maps)
        for opened in maps.values():
            opened.close()
        return cls(pins, making, program, memory, adopted is not None)

    def take_over(self) -> None:
        """Let every packet go by this program and these maps from now on, and forget those of another making.

        Each interface changes by one store: no packet is lost, if all is set that was set before.
        """
        self.replaced = self._attachments.refresh(has_same_maps=self.is_adopted)
        self._pins.use(self._making)
        self.is_waiting = False

    def set_source(self, addresses: Sequence[IPAddress]) -> None:
        """Use these as sources of the outer header, those of each family spread over the buckets."""
        set_sources(self._memory, addresses)
        if self._entries is not None:
            self.set_backends(self._entries)

    def set_interfaces(self, macs: Mapping[int, bytes]) -> None:
        """Take only frames for the interface's own MAC on these interfaces, by index; on others, every frame.

        A switch that has forgotten a MAC sends its frames to all ports: another node's packets are no business of
        this one. Broadcast and multicast are left to the stack too. To be called again whenever a MAC changes.
        """
        set_interfaces(self._memory, macs)

    def set_backends(self, entries: Sequence[BackendEntry]) -> None:
        """Make `entries` all the backends there are; packets for others are dropped, by name.

        So are those whose tunnel is of a family of which there is no outer source.
        """
        self._backends.set(entries, source_families(self._memory))
        self._entries = tuple(entries)

    def set_vips(self, entries: Sequence[VipEntry]) -> None:
        """Make `entries` all the VIPs there are, at once for every packet. Their pools must have been staged."""
        self._vips.set(entries)

    def stage(self, table: PoolTable) -> None:
        """Write a table aside; it replaces one that was staged before. Packets are sent as before.

        With `flow_table`, UDP flows of buckets that are to change owner are written down from now on: who waits for
        as long as such flows may be idle before `switch` keeps them all.
        """
        if self._tables.stage(table):
            self._vips.renew()

    def switch(self, pool: PoolName) -> None:
        """Let the staged table of `pool` carry its traffic, at once for every packet."""
        self._tables.switch(pool)

    def drop_pool(self, pool: PoolName) -> None:
        """Forget a pool and its tables; raises DataPlaneError while VIPs point at it."""
        if any(entry.pool == pool for entry in self._vips.entries()):
            raise DataPlaneError(f"drop pool {pool}: VIPs point at it: take them away first")
        self._tables.drop(pool)

    def tables(self) -> dict[PoolName, PoolTables]:
        """Return which epochs the kernel holds, read from its maps."""
        return self._tables.loaded()

    def attach(self, name: str, mode: str = "auto") -> Attachment:
        """Put the program on an interface: "auto" (native, else generic and why), "native" or "generic".

        While `is_waiting` what hangs there stays as it is: to be called again after `take_over`.
        """
        return self._attachments.attach(name, mode, is_fixed=self.is_waiting)

    def attachments(self) -> dict[int, Attachment]:
        """Return how the program hangs on each interface, by interface index."""
        return self._attachments.all()

    def counters(self) -> dict[str, Count]:
        """Return packets and bytes by outcome, and what the flow table did (`flow_…`: packets alone)."""
        outcomes = self._memory.layout.outcomes
        return self._rows.read_by({name: row for row, name in enumerate(outcomes)})

    def vip_counters(self) -> dict[VipKey, Count]:
        """Return what was forwarded for each VIP."""
        return self._vips.counters()

    def pool_counters(self) -> dict[PoolName, Count]:
        """Return what was forwarded for the VIPs of each pool."""
        return self._vips.counters_by_pool()

    def backend_counters(self) -> dict[BackendId, Count]:
        """Return what was forwarded to each backend."""
        return self._backends.counters()

    def bucket_packets(self, pool: PoolName) -> NDArray[np.uint64]:
        """Return the packets of each bucket; raises DataPlaneError unless made with `Limits.count_buckets`."""
        return self._tables.bucket_packets(pool)

    def unload(self) -> None:
        """Take the program off every interface and remove the maps: traffic ends."""
        for ifindex in list(self._attachments.all()):
            self._attachments.detach(ifindex)
        self._pins.remove()
        self.close()

    def close(self) -> None:
        """Let go; the kernel goes on."""
        self._attachments.close()
        self.program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unload(directory: Path) -> bool:
    """Take down whatever is pinned in `directory`, of any release; False when there is nothing."""
    pins = Pins(directory)
    if not pins.exist:
        return False
    for link in pins.links().values():
        link.detach()
        link.close()
    pins.remove()
    return True


def _prepare(each: BpfObject, layout: Layout, limits: Limits) -> Making:
    """Set the object up for these limits, and return what its maps are made for."""
    sizes = _sizes(limits, layout["TABLE_ROW"])
    for name, entries in sizes.items():
        each.resize(name, entries)
    each.set_constant("count_buckets", int(limits.count_buckets))
    _set_rates(each, limits)
    return Making.of(layout.digest, each.btf, {**sizes, "table_places": limits.table_places})


def _set_rates(each: BpfObject, limits: Limits) -> None:
    """How often the program may answer packets itself: nanoseconds an answer (enum budget)."""
    rates = {"echoes_per_s": limits.echoes_per_s, "errors_per_s": limits.errors_per_s}
    for name, rate in rates.items():
        if not 0 <= rate <= NANOSECONDS:
            raise DataPlaneError(f"{name}: {rate}: must be 0 to {NANOSECONDS}")
    intervals = (NANOSECONDS // rate if rate else 0 for rate in rates.values())
    each.set_constant("answer_interval", struct.pack("<2Q", *intervals))


def _sizes(limits: Limits, row: int) -> dict[str, int]:
    """How many entries each map has that is not always of the same size."""
    for name in ("table_places", "flows", "new_flows", "fragments"):
        if getattr(limits, name) < 1:
            raise DataPlaneError(f"{name}: {getattr(limits, name)}: must be at least 1")
    return {
        "tables": -(-limits.table_places // row),
        "counts": possible_cpus(),
        "bucket_counts": limits.table_places if limits.count_buckets else 1,
        "flows": limits.flows,
        "new_flows": limits.new_flows,
        "fragments": limits.fragments,
    }
