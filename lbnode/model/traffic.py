"""What a node has counted in its kernel: packets and bytes, by outcome, VIP, pool and backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lbnode.model.ids import BackendName, NodeName, PoolName


class Count(NamedTuple):
    """A counter; bytes are those of the frames as they came."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What `node` has counted since its tables were made, over restarts of its daemon.

    `outcomes` are what became of all packets; the others count those that went to a backend, since the node has
    known the VIP or the backend. VIPs are named as operators write them. A pool's count is the sum of its VIPs' of now.
    """

    node: NodeName
    outcomes: Mapping[str, Count]
    vips: Mapping[str, Count]
    pools: Mapping[PoolName, Count]
    backends: Mapping[BackendName, Count]
