"""The state of a fleet as one node sees it: what `lbctl status` prints and the Status service answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from lbnode.model.epoch import BackendState
from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.flows import HeldChange
from lbnode.model.ids import BackendId, BackendName, EpochNumber, IPAddress, NodeName, PoolName, SlotNumber
from lbnode.model.members import View
from lbnode.model.tunnel import TunnelFamily
from lbnode.model.vip import Protocol, VipAddress, VipKey, VipPort, WrongPort


class Severity(Enum):
    """How bad a problem is: an alarm costs traffic or safety now, a warning may do so later."""

    ALARM = "alarm"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should know: about what, what is wrong, and what to do (may be empty)."""

    severity: Severity
    subject: str
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class NodePool:
    """What a node has in its kernel for a pool. `agrees`: with the fleet, in epoch and digest."""

    pool: PoolName
    current: EpochNumber | None
    staged: EpochNumber | None
    digest: str
    agrees: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node that is a member or connected. What only a live node can say is empty for others.

    `gone_s`: how long the node that answers has missed it; None while it is connected or was never seen.
    """

    name: NodeName
    connected: bool
    drained: bool
    version: str = ""
    state: str = ""
    view: View | None = None
    uptime_s: float = 0.0
    rpc_address: str = ""
    sources: tuple[IPAddress, ...] = ()
    announced: tuple[VipAddress, ...] = ()
    routers: dict[str, str] = field(default_factory=dict)
    xdp: dict[str, str] = field(default_factory=dict)
    pools: tuple[NodePool, ...] = ()
    alarms: tuple[str, ...] = ()
    gone_s: float | None = None


class AgentState(Enum):
    """What is known of a backend's agent: without one, a stock gre device gives plain consistent hashing.

    `UNKNOWN`: there is one, and who answers has no contact to the store that would say more.
    """

    CONNECTED = "connected"
    SILENT = "silent"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot and who sits in it; an empty one has no backend. `buckets`: how many of the table it owns.

    `address`: where the pool's packets go to, of the family of its tunnels.

    `failing_on` are the nodes whose own checks fail the backend now. `flows` are those that a draining backend still
    holds in this pool; None when nobody counts them. `drained`: it drains everywhere and holds no flow any more.
    `no_second_chance`: VIP address and port → why its agent cannot pass on packets of flows there.
    """

    number: SlotNumber
    weight: int
    backend: BackendName | None
    id: BackendId | None
    address: IPAddress | None
    state: BackendState
    buckets: int
    agent: AgentState
    failing_on: tuple[NodeName, ...] = ()
    flows: int | None = None
    drained: bool = False
    no_second_chance: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FormerStatus:
    """A backend that left `slot` in epoch `left_in` and may still hold flows; None for `flows`: nobody counts them."""

    slot: SlotNumber
    backend: BackendName | None
    id: BackendId
    address: IPAddress | None
    state: BackendState
    left_in: EpochNumber
    agent: AgentState
    flows: int | None = None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool in its current epoch; `offered` is the number of a newer one that is not current yet.

    `current` is None before the pool's first epoch. Owners since epoch `window_from` count as alternates;
    `window_s` is how long they do, in seconds. `held` are planned changes that wait, and for whom. `behind` are the
    nodes that do not go by the current epoch, each with why, and may give new flows to who should get none.
    """

    name: PoolName
    current: EpochNumber | None
    offered: EpochNumber | None
    table_size: int
    hash_mode: HashMode
    hash_algorithm: HashAlgorithm
    digest: str
    slots: tuple[SlotStatus, ...]
    former: tuple[FormerStatus, ...] = ()
    window_from: EpochNumber | None = None
    window_s: float = 0.0
    flow_table: bool = False
    held: tuple[HeldChange, ...] = ()
    behind: dict[NodeName, str] = field(default_factory=dict)
    tunnel: TunnelFamily = TunnelFamily.IPV4

    def share(self, slot: SlotStatus) -> float:
        """Return the fraction (0 to 1) of new flows that go to the backend in `slot`."""
        return slot.buckets / self.table_size


@dataclass(frozen=True, slots=True)
class VipStatus:
    """A VIP and the connected nodes that announce its address."""

    address: VipAddress
    protocol: Protocol
    port: VipPort
    pool: PoolName
    wrong_port: WrongPort
    announced_by: tuple[NodeName, ...]

    @property
    def key(self) -> VipKey:
        """What makes a packet one of this VIP's."""
        return VipKey(self.address, self.protocol, self.port)


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The whole fleet, as `answered_by` sees it.

    `agree`: all connected nodes forward by the fleet's current epochs; `disagreements` say where not.
    `problems` are sorted: the worst first.
    """

    fleet: str
    uuid: UUID | None
    answered_by: NodeName
    view: View
    leader: NodeName | None
    agree: bool
    disagreements: tuple[str, ...]
    problems: tuple[Problem, ...]
    nodes: tuple[NodeStatus, ...]
    vips: tuple[VipStatus, ...]
    pools: tuple[PoolStatus, ...]
    corrupt: tuple[str, ...] = ()
