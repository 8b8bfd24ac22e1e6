"""One moment of a node, as numbers: taken by the daemon's loop on each pass, read by whoever scrapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.traffic import Traffic

NO_TRAFFIC = Traffic(NodeName(""), {}, {}, {}, {})


@dataclass(frozen=True, slots=True)
class PoolSample:
    """A pool in this node's kernel: the epoch in use (0: none), whether its table agrees with the fleet's digest."""

    epoch: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that is told.

    `announced` is the number of addresses, `routers` says which sessions are up, `verdicts` are this node's own.
    """

    version: str = ""
    local_view: bool = False
    leading: bool = False
    alarms: int = 0
    announced: int = 0
    routers: Mapping[str, bool] = field(default_factory=dict)
    pools: Mapping[PoolName, PoolSample] = field(default_factory=dict)
    verdicts: Mapping[PoolName, Mapping[BackendName, bool]] = field(default_factory=dict)
    traffic: Traffic = NO_TRAFFIC
