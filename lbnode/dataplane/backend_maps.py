"""What stands in the backend's maps, as values: the node's own classes over its structures, and what is added here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lbnode.dataplane.backend_layout import BackendLayout
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.libbpf import Map
from lbnode.dataplane.members import Members
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.tunnels import Backends
from lbnode.dataplane.values import Count
from lbnode.dataplane.vips import Vips
from lbnode.model.ids import BackendId, PoolName
from lbnode.model.vip import VipKey


class BackendMemory:
    """The maps of one backend. `is_adopted`: packets may still be under way in what was there before."""

    def __init__(self, maps: Mapping[str, Map], layout: BackendLayout, is_adopted: bool) -> None:
        self._names = layout.outcomes
        self._agent: Any = np.frombuffer(maps["agent_state"].mmap(), dtype=layout.agent, count=1)[0]
        memory = NodeMemory(maps, layout.node)
        grace = Grace()
        if is_adopted:
            grace.wait()
        self.members = Members(maps["sources"], self._agent["near"], grace)
        self._rows = CounterRows(memory, grace)
        self.tables = Tables(memory, grace)
        self.backends = Backends(memory, grace, self._rows)
        self.vips = Vips(memory, grace, self._rows, self.tables)

    @property
    def self_id(self) -> BackendId | None:
        """This backend's id, None while it has none."""
        return BackendId(int(self._agent["self"])) or None

    @self_id.setter
    def self_id(self, number: BackendId | None) -> None:
        self._agent["self"] = number or 0

    def takes_new(self) -> frozenset[PoolName]:
        """Return the pools whose new flows this backend takes."""
        flags = self._agent["takes_new"]
        return frozenset(pool for pool in self.tables.loaded() if flags[self.tables.number(pool)])

    def set_takes_new(self, pools: Iterable[PoolName]) -> None:
        """Take new flows of exactly these pools; all must have a table."""
        numbers = {self.tables.number(pool) for pool in pools}
        for number in range(len(self._agent["takes_new"])):
            if bool(self._agent["takes_new"][number]) != (number in numbers):
                self._agent["takes_new"][number] = number in numbers

    def heard(self) -> frozenset[VipKey]:
        """Return the VIPs for which a listener was seen here."""
        return frozenset(key for key, row in self.vips.rows().items() if self._agent["is_heard"][row])

    def set_heard(self, heard: Iterable[VipKey]) -> None:
        """Give a second chance for exactly these of the VIPs."""
        wanted = frozenset(heard)
        for key, row in self.vips.rows().items():
            self._agent["is_heard"][row] = key in wanted

    def counters(self) -> dict[str, Count]:
        """Return packets and bytes by outcome, and what else is counted, since the maps were made."""
        return dict(zip(self._names, self._rows.read(list(range(len(self._names)))), strict=True))
