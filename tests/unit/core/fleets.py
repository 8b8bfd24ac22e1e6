"""Small fleets to decide about."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TypedDict, Unpack
from uuid import UUID

from lbnode.core import writes
from lbnode.core.leader import Leader
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import (
    Backend,
    DesiredFleet,
    HashAlgorithm,
    HashMode,
    HealthCheck,
    Intents,
    Join,
    OnAllFailed,
    Pool,
    PoolMember,
    Protocol,
    Vip,
)
from lbnode.model.flows import HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, IPAddress, NodeName, PoolName, SlotNumber
from lbnode.model.members import AgentLive, AgentMember, FleetIdentity, LoadedEpoch, NodeLive, NodeMember
from lbnode.model.tunnel import TunnelFamily
from lbnode.model.view import FleetView

FLEET = UUID("00000000-0000-4000-8000-000000000001")
WEB = PoolName("web")
VIP = ip_address("192.0.2.10")
SIZE = 251


class PoolChanges(TypedDict, total=False):
    """What a test's pool has otherwise than others."""

    members: tuple[PoolMember, ...]
    table_size: int
    hash_mode: HashMode
    hash_algorithm: HashAlgorithm
    health_cap_percent: int
    on_all_failed: OnAllFailed
    affinity_window_s: float
    flow_table: bool
    udp_idle_s: float
    join: Join
    tunnel: TunnelFamily


class ViewChanges(TypedDict, total=False):
    """What a test's view shows otherwise than others."""

    intents: Intents
    nodes: dict[NodeName, NodeMember]
    agents: dict[BackendName, AgentMember]
    live_nodes: dict[NodeName, NodeLive]
    live_agents: dict[BackendName, AgentLive]
    held: dict[PoolName, HeldChanges]
    leader: NodeName | None
    connected: bool
    corrupt: tuple[str, ...]


class AgentChanges(TypedDict, total=False):
    """What a test's agent registers otherwise than others."""

    addresses: tuple[IPAddress, ...]
    joins: tuple[PoolName, ...]
    weight: int
    leaving: bool


def members(*names: str, weight: int = 1) -> tuple[PoolMember, ...]:
    return tuple(PoolMember(BackendName(name), weight) for name in names)


def pool(*names: str, health: HealthCheck | None = None, **changes: Unpack[PoolChanges]) -> Pool:
    return replace(Pool(WEB, members(*names), table_size=SIZE, health=health), **changes)


def fleet(*names: str, health: bool = False, **changes: Unpack[PoolChanges]) -> DesiredFleet:
    """A fleet of one pool `web` behind 192.0.2.10:80, with a backend for each name."""
    check = HealthCheck(port=80) if health else None
    return DesiredFleet(
        "demo",
        tuple(
            Backend(BackendName(name), (ip_address(f"10.0.0.{i}"),), agent=False)
            for i, name in enumerate(names, 1)
        ),
        (pool(*names, health=check, **changes),),
        (Vip(VIP, Protocol.TCP, 80, WEB),),
    )


def view_of(desired: DesiredFleet, **changes: Unpack[ViewChanges]) -> FleetView:
    identity = FleetIdentity(FLEET, "demo", {1: "11" * 32})
    return replace(FleetView(identity=identity, desired=desired, connected=True), **changes)


def node(
    name: str, number: int | None = None, staged: int | None = None, up: dict[str, bool] | None = None
) -> NodeLive:
    loaded = LoadedEpoch(
        None if staged is None else EpochNumber(staged), None if number is None else EpochNumber(number), ""
    )
    verdicts = {} if up is None else {WEB: {BackendName(key): value for key, value in up.items()}}
    return NodeLive(NodeName(name), "0", "up", 0.0, "", {WEB: loaded}, verdicts=verdicts)


def agent(name: str, number: int, *nodes: str) -> AgentLive:
    return AgentLive(BackendName(name), "0", {WEB: EpochNumber(number)}, tuple(NodeName(n) for n in nodes))


def apply_commands(view: FleetView, commands: tuple[writes.Write, ...]) -> FleetView:
    """What the store would hold after the leader's commands."""
    for command in commands:
        match command:
            case writes.PutIds(ledger):
                view = replace(view, ids=ledger)
            case writes.PutBackend(member):
                view = replace(view, backends={**view.backends, member.name: member})
            case writes.RemoveBackend(name):
                view = replace(view, backends={k: v for k, v in view.backends.items() if k != name})
            case writes.ForgetAgent(name):
                view = replace(view, agents={k: v for k, v in view.agents.items() if k != name})
            case writes.OfferEpoch(epoch):
                stored = {**view.epochs.get(epoch.pool, {}), epoch.number: epoch}
                view = replace(view, epochs={**view.epochs, epoch.pool: stored})
            case writes.RestoreEpoch(epoch):
                stored = {**view.epochs.get(epoch.pool, {}), epoch.number: epoch}
                damaged = tuple(n for n in view.damaged.get(epoch.pool, ()) if n != epoch.number)
                view = replace(
                    view, epochs={**view.epochs, epoch.pool: stored}, damaged={epoch.pool: damaged}
                )
            case writes.MakeCurrent(pool_name, number):
                view = replace(view, current={**view.current, pool_name: number})
            case writes.ForgetEpoch(pool_name, number):
                kept = {k: v for k, v in view.epochs[pool_name].items() if k != number}
                view = replace(view, epochs={**view.epochs, pool_name: kept})
            case writes.RetirePool(pool_name):
                view = replace(
                    view,
                    epochs={k: v for k, v in view.epochs.items() if k != pool_name},
                    current={k: v for k, v in view.current.items() if k != pool_name},
                )
            case writes.AskForFlows(question):
                view = replace(view, questions={**view.questions, question.pool: question})
            case writes.PutHeld(held):
                view = replace(view, held={**view.held, held.pool: held})
            case writes.FoundFleet():
                raise AssertionError("the fleet has an identity")
    return view


def settle(
    view: FleetView, leader: Leader | None = None, now: float = 0.0, wall: float = 0.0, rounds: int = 30
) -> FleetView:
    """Let a leader act until it has nothing to do for a minute; both clocks go on from `now` and `wall`."""
    leader = leader or Leader()
    began = now
    for _ in range(rounds):
        decision = leader.handle(view, now, wall + now - began)
        idle = decision.wake_at is None or decision.wake_at > now + 60
        if not decision.commands and idle:
            return view
        view = apply_commands(view, decision.commands)
        if not idle and decision.wake_at is not None:
            now = max(now, decision.wake_at)
    raise AssertionError("the leader never comes to rest")


def drain(view: FleetView, *names: str) -> FleetView:
    return replace(view, intents=Intents(drained_backends={WEB: tuple(BackendName(name) for name in names)}))


def numbered(epoch: Epoch, number: int, window_from: int | None = None) -> Epoch:
    """An epoch under another number, whose window begins with itself unless told otherwise."""
    return replace(epoch, number=EpochNumber(number), window_from=EpochNumber(window_from or number))


def holding(view: FleetView, *epochs: Epoch, using: int) -> FleetView:
    """The view when these are all the epochs of pool `web`, and number `using` is current."""
    return replace(
        view, epochs={WEB: {epoch.number: epoch for epoch in epochs}}, current={WEB: EpochNumber(using)}
    )


def current(view: FleetView) -> Epoch:
    epoch = view.current_epoch(WEB)
    assert epoch is not None
    return epoch


def slot_of(view: FleetView, name: str) -> SlotNumber:
    number = view.backends[BackendName(name)].id
    return next(slot.number for slot in current(view).slots if slot.backend == number)
