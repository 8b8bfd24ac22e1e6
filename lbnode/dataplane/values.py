"""What callers hand to the node's data plane and get from it: whole desired sets and plain records."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lbnode.model.epoch import stamp_of
from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.ids import BackendId, EpochNumber, IPAddress, PoolName
from lbnode.model.nexthop import NextHop
from lbnode.model.traffic import Count
from lbnode.model.tunnel import IPVersion
from lbnode.model.vip import Protocol, VipAddress, VipKey, VipPort
from ring.bucket import BucketKeys

__all__ = [
    "Attachment",
    "BackendEntry",
    "Count",
    "Limits",
    "LoadedTable",
    "NextHop",
    "PoolTable",
    "PoolTables",
    "QuicRouting",
    "Tunnel",
    "VipEntry",
]

MEGA = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Capacities of the maps, fixed when they are made. `table_places`: buckets of all tables together.

    A pool needs its table size twice, once for the current and once for the staged table, and a little more makes
    switching faster: a place may be written again only after a grace period. 8 bytes a place.

    `flows`: that the flow table remembers, of changing buckets alone; the least recently used makes room. `new_flows`:
    TCP flows of which only the SYN was seen, in a part of their own. 112 bytes a flow.

    `echoes_per_s`, `errors_per_s`: how many answers a CPU writes, echo replies and "too big" each, after a burst of 64;
    0: none. These count whenever the program is loaded.
    `fragments`: packets in fragments whose first one is remembered; the same, 112 bytes a packet.
    """

    table_places: int = 2 * MEGA
    count_buckets: bool = False
    flows: int = 1 << 16
    new_flows: int = 1 << 14
    echoes_per_s: int = 10_000
    errors_per_s: int = 1_000
    fragments: int = 1 << 14


@dataclass(frozen=True, slots=True)
class QuicRouting:
    """UDP packets whose QUIC connection id names one of `members` go there (`lbnode.quic`), whatever the bucket."""

    config_id: int
    members: frozenset[BackendId]


@dataclass(frozen=True, slots=True)
class PoolTable:
    """One epoch's table of a pool: `owners`, `first` and `second` alternates, backend ids by bucket, 0 = none.

    `flow_table`: flows that the second chance does not cover are remembered (UDP; TCP whose owner has no agent). While
    such a table is staged, the UDP flows of buckets that it gives to another owner are written down; once it is
    current, packets of buckets with alternates go where their flow was. `failed`: no UDP flow stays with these.
    `local`: this daemon's own verdicts are on top of the epoch.

    `tunnel`: the family of the outer header for all of the pool's packets, whatever family they are of themselves.
    """

    pool: PoolName
    epoch: EpochNumber
    size: int
    mode: HashMode
    algorithm: HashAlgorithm
    keys: BucketKeys
    owners: NDArray[np.uint16] = field(repr=False)
    first: NDArray[np.uint16] = field(repr=False)
    second: NDArray[np.uint16] = field(repr=False)
    digest: str = ""
    flow_table: bool = False
    failed: frozenset[BackendId] = frozenset()
    tunnel: IPVersion = 4
    local: bool = False
    quic: QuicRouting | None = None

    @property
    def stamp(self) -> int:
        """What packets that go by this table carry: see `lbnode.model.epoch.stamp_of`."""
        return stamp_of(self.epoch, self.local)


@dataclass(frozen=True, slots=True)
class VipEntry:
    """A VIP of this node. `wrong_port_pass` of any VIP of an address or prefix holds for all of it."""

    address: VipAddress
    protocol: Protocol
    port: VipPort
    pool: PoolName
    wrong_port_pass: bool = False

    @property
    def key(self) -> VipKey:
        """What makes a packet one of this VIP's."""
        return VipKey(self.address, self.protocol, self.port)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where a backend's tunnel ends, and the way there: None while it is not known."""

    address: IPAddress
    next_hop: NextHop | None


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """A backend and its tunnels, at most one of each family; a pool's packets take that of the pool's family."""

    id: BackendId
    agent: bool
    ipv4: Tunnel | None = None
    ipv6: Tunnel | None = None

    @classmethod
    def of(cls, number: BackendId, agent: bool, *tunnels: Tunnel) -> BackendEntry:
        """Return the backend with these tunnels, the last of each family."""
        by_family = {tunnel.address.version: tunnel for tunnel in tunnels}
        return cls(number, agent, by_family.get(4), by_family.get(6))

    def tunnel(self, family: IPVersion) -> Tunnel | None:
        """Return the tunnel of this family."""
        return self.ipv4 if family == 4 else self.ipv6


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """A table in the kernel."""

    epoch: EpochNumber
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class PoolTables:
    """What the kernel holds for a pool: `current` carries traffic, `staged` waits for the switch.

    `recording`: UDP flows of the buckets that will change owner are being written down.
    """

    current: LoadedTable | None
    staged: LoadedTable | None
    recording: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """How the program hangs on an interface: "native" or "generic", and why not native (empty when it is)."""

    mode: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.mode}: {self.reason}" if self.reason else self.mode
