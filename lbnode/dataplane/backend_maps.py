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
from lbnode.model.intake import Intake
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

    def intake(self) -> dict[PoolName, Intake]:
        """Return which new flows this backend takes, of the pools that it takes any of."""
        by_number = self._agent["intake"]
        found = {pool: Intake(int(by_number[self.tables.number(pool)])) for pool in self.tables.loaded()}
        return {pool: intake for pool, intake in found.items() if intake}

    def set_intake(self, intake: Mapping[PoolName, Intake]) -> None:
        """Take these new flows and none of other pools; all named must have a table."""
        wanted = np.zeros_like(self._agent["intake"])
        for pool, each in intake.items():
            wanted[self.tables.number(pool)] = each
        changed = np.flatnonzero(self._agent["intake"] != wanted)
        self._agent["intake"][changed] = wanted[changed]

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
