"""One consistent look at the fleet's memory: the argument of every decision in `lbnode.core`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.flows import FlowQuestion, FlowReport, HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, NodeName, PoolName
from lbnode.model.members import (
    AgentLive,
    AgentMember,
    BackendMember,
    FleetIdentity,
    NodeLive,
    NodeMember,
)


@dataclass(frozen=True, slots=True)
class IdLedger:
    """Which backend ids were given away: `next_id` and, for released ones, when (seconds of the wall clock)."""

    next_id: int = 1
    released_at: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FleetView:
    """Typed snapshot of the store. `epochs` holds every stored epoch of a pool by number, offered ones included."""

    identity: FleetIdentity | None = None
    desired: DesiredFleet | None = None
    desired_version: int = -1
    intents: Intents = field(default_factory=Intents)
    intents_version: int = -1
    ids: IdLedger = field(default_factory=IdLedger)
    nodes: dict[NodeName, NodeMember] = field(default_factory=dict)
    backends: dict[BackendName, BackendMember] = field(default_factory=dict)
    agents: dict[BackendName, AgentMember] = field(default_factory=dict)
    epochs: dict[PoolName, dict[EpochNumber, Epoch]] = field(default_factory=dict)
    current: dict[PoolName, EpochNumber] = field(default_factory=dict)
    live_nodes: dict[NodeName, NodeLive] = field(default_factory=dict)
    live_agents: dict[BackendName, AgentLive] = field(default_factory=dict)
    questions: dict[PoolName, FlowQuestion] = field(default_factory=dict)
    reports: dict[PoolName, dict[BackendName, FlowReport]] = field(default_factory=dict)
    held: dict[PoolName, HeldChanges] = field(default_factory=dict)
    leader: NodeName | None = None
    connected: bool = False
    corrupt: tuple[str, ...] = ()
    """Paths of records that could not be read, each with the reason: never a crash, always an alarm."""
    damaged: dict[PoolName, tuple[EpochNumber, ...]] = field(default_factory=dict)
    """Of these, the epochs. One that was read before is in `epochs` all the same: an epoch never changes."""

    def newest(self, pool: PoolName) -> Epoch | None:
        """The newest stored epoch of a pool: the offered one, or the current one when nothing is on offer."""
        epochs = self.epochs.get(pool)
        return epochs[max(epochs)] if epochs else None

    def current_epoch(self, pool: PoolName) -> Epoch | None:
        """The epoch that nodes must use now."""
        number = self.current.get(pool)
        return None if number is None else self.epochs.get(pool, {}).get(number)

    def opinions(self, pool: PoolName, backend: BackendName) -> dict[NodeName, bool]:
        """What the connected nodes that check a backend of the pool think of it."""
        found = {name: live.verdicts.get(pool, {}).get(backend) for name, live in self.live_nodes.items()}
        return {name: verdict for name, verdict in found.items() if verdict is not None}

    def failing_on(self, pool: PoolName, backend: BackendName) -> tuple[NodeName, ...]:
        """The nodes on which a backend of the pool fails its checks, by name."""
        return tuple(sorted(name for name, is_up in self.opinions(pool, backend).items() if not is_up))
