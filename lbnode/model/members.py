"""Who belongs to the fleet (membership: persistent) and who is connected now (liveness: ephemeral).

Membership is not liveness: losing a live record changes no epoch, no key and no source list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from lbnode.model.ids import BackendId, BackendName, EpochNumber, IPAddress, NodeName, PoolName
from lbnode.model.tunnel import Addresses
from lbnode.model.vip import VipAddress


class View(Enum):
    """Where a daemon's picture of the fleet comes from."""

    FLEET = "fleet"
    LOCAL = "local view"


@dataclass(frozen=True, slots=True)
class FleetIdentity:
    """What never changes in a fleet's life. `keys`: key id → fleet secret, 32 bytes as hex."""

    uuid: UUID
    name: str
    keys: dict[int, str]


@dataclass(frozen=True, slots=True)
class NodeMember:
    """A node that belongs to the fleet: backends accept GRE from `sources`, its tunnels' addresses of both families."""

    name: NodeName
    sources: tuple[IPAddress, ...]
    algorithm: int


@dataclass(frozen=True, slots=True)
class BackendMember:
    """A backend that belongs to the fleet, with the id that the leader allotted.

    `agent` is False for a machine on which a stock kernel `gre` device decapsulates.
    """

    name: BackendName
    id: BackendId
    addresses: Addresses
    agent: bool


@dataclass(frozen=True, slots=True)
class AgentMember:
    """What an agent says of its machine when it registers; written by the agent alone.

    `joins`: the pools with `join: auto` that it asks to be let into, with `weight`. `leaving`: it is to be drained
    everywhere, because it will end.
    """

    name: BackendName
    addresses: Addresses
    algorithm: int
    joins: tuple[PoolName, ...] = ()
    weight: int = 1
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Late:
    """A node went by `epoch` until `until` (wall clock), although the fleet had newer ones: it was cut off from it."""

    epoch: EpochNumber
    until: float


@dataclass(frozen=True, slots=True)
class LoadedEpoch:
    """What a node has in its kernel for one pool. `staged` is loaded aside, `current` carries traffic.

    `problem` is empty, or says why the node keeps an older table than the fleet's. `late`: it has been behind.
    `is_own`: the node's own health verdicts are on top of `current`.
    """

    staged: EpochNumber | None
    current: EpochNumber | None
    digest: str
    problem: str = ""
    late: Late | None = None
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class NodeLive:
    """What a connected node says of itself: version, state, what it has loaded, announces and sees."""

    name: NodeName
    version: str
    state: str
    started_at: float
    rpc_address: str
    pools: dict[PoolName, LoadedEpoch] = field(default_factory=dict)
    announced: tuple[VipAddress, ...] = ()
    routers: dict[str, str] = field(default_factory=dict)
    """BGP neighbour address → "up", or "down: why"."""
    verdicts: dict[PoolName, dict[BackendName, bool]] = field(default_factory=dict)
    """This node's own health verdicts: True is up. A backend not yet judged is absent."""
    xdp: dict[str, str] = field(default_factory=dict)
    """Interface → "native" or "generic: why not native" ("asked for" where the settings want it so)."""
    alarms: tuple[str, ...] = ()
    vips: str = ""
    """Digest of the VIPs in its kernel (`core.vips.digest_of`); empty: it has not said."""


@dataclass(frozen=True, slots=True)
class AgentLive:
    """What a connected agent says of itself: the epochs that it has loaded and the nodes whose GRE it accepts.

    `flows`: pool → flows held, told for pools in which it drains or has been replaced, at most once a second.
    `no_second_chance`: VIP address:port → why (no listener in this agent's namespace).
    """

    name: BackendName
    version: str
    pools: dict[PoolName, EpochNumber] = field(default_factory=dict)
    nodes: tuple[NodeName, ...] = ()
    xdp: dict[str, str] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    flows: dict[PoolName, int] = field(default_factory=dict)
    no_second_chance: dict[str, str] = field(default_factory=dict)
