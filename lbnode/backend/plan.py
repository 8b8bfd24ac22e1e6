"""What a backend's machine must hold, decided from the fleet's view. Pure.

Decides which VIPs this backend answers for, whose GRE it accepts, whom it can pass packets on to, which tables it
needs and which epochs it may acknowledge, and in which order the machine gets there: what lets packets in comes
first, what shuts them out last. A view without identity says nothing (an empty store is no fleet): then what an
earlier agent left stays.

Does not decide who is alive, nor what becomes of a single packet (lbnode/bpf/decap_chance.h).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from lbnode.backend.loading import DropPool, Loading, LoadTable
from lbnode.core.joining import wanted_fleet
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.fleet import DesiredFleet
from lbnode.model.ids import BackendId, BackendName, EpochNumber, IPAddress, NodeName, PoolName
from lbnode.model.intake import Intake, intake_in
from lbnode.model.members import BackendMember
from lbnode.model.view import FleetView
from lbnode.model.vip import Protocol, VipAddress, VipKey, VipPort, address_order


@dataclass(frozen=True, slots=True)
class ServedVip:
    """A VIP that this backend answers for."""

    address: VipAddress
    protocol: Protocol
    port: VipPort
    pool: PoolName

    @property
    def key(self) -> VipKey:
        """What makes a packet one of this VIP's."""
        return VipKey(self.address, self.protocol, self.port)


@dataclass(frozen=True, slots=True)
class HostState:
    """All that the fleet wants of this machine, whole. `pools` are those whose flows it may hold.

    `intake`: which new flows it takes, of the pools that it takes any of. `leaves`: those in which it drains, or has
    lost its place.
    """

    self_id: BackendId | None = None
    vips: frozenset[ServedVip] = frozenset()
    sources: frozenset[IPAddress] = frozenset()
    peers: tuple[BackendMember, ...] = ()
    nodes: tuple[NodeName, ...] = ()
    pools: frozenset[PoolName] = frozenset()
    intake: Mapping[PoolName, Intake] = field(default_factory=dict)
    leaves: frozenset[PoolName] = frozenset()

    @property
    def addresses(self) -> frozenset[VipAddress]:
        """The VIPs' addresses and prefixes: what `lo` must hold."""
        return frozenset(vip.address for vip in self.vips)


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put a VIP's address or prefix on lo."""

    address: VipAddress


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take a VIP's address or prefix off lo, if it was this agent that put it there."""

    address: VipAddress


@dataclass(frozen=True, slots=True)
class Accept:
    """Take GRE from exactly `sources` and `peers`, and be able to pass packets on to the latter."""

    sources: frozenset[IPAddress]
    peers: tuple[BackendMember, ...]


@dataclass(frozen=True, slots=True)
class Serve:
    """Take inner packets for exactly `vips`; `self_id` is this backend's."""

    vips: frozenset[ServedVip]
    intake: Mapping[PoolName, Intake]
    self_id: BackendId | None


@dataclass(frozen=True, slots=True)
class Attach:
    """Have the programs hang on the interface; nothing happens where they do."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the fleet what is loaded now: the newest epochs of this backend's pools and the members let in."""

    epochs: dict[PoolName, EpochNumber]
    nodes: tuple[NodeName, ...]


Command = AddAddress | RemoveAddress | Accept | LoadTable | Serve | DropPool | Attach | Acknowledge


@dataclass(slots=True)
class Plan:
    """The state machine of one agent: views in, commands out. `wanted` is what the last view asked for.

    `succeeds`: packets go by the maps of another release or size, which nobody can read: they are replaced only when
    nothing is missing in this one's.
    """

    name: BackendName
    loading: Loading = field(default_factory=Loading)
    wanted: HostState | None = None
    accepted: Accept | None = None
    served: Serve | None = None
    acknowledged: Acknowledge | None = None
    succeeds: bool = False

    def handle(
        self, view: FleetView, on_lo: Iterable[VipAddress], owned: Iterable[VipAddress]
    ) -> list[Command]:
        """Return what to do, in order: all of it, or the caller calls `forget` and hands the view in again.

        `on_lo` are the addresses that lo has, `owned` those that an agent put there.
        """
        if view.identity is None:
            return [] if self.succeeds else [Attach()]
        self.wanted = wanted = host_state(view, self.name, self.loading.loaded)
        present = frozenset(on_lo)
        commands: list[Command] = [AddAddress(address) for address in _in_order(wanted.addresses - present)]
        accept = Accept(wanted.sources, wanted.peers)
        if accept != self.accepted:
            self.accepted = accept
            commands.append(accept)
        needed = wanted.pools | {vip.pool for vip in wanted.vips}
        tables = self.loading.handle(view, needed)
        commands += [command for command in tables if isinstance(command, LoadTable)]
        commands += self._serve(wanted)
        commands += [command for command in tables if isinstance(command, DropPool)]
        if not (self.succeeds and (needed & view.epochs.keys()) - self.loading.loaded.keys()):
            commands += [Attach(), *self._acknowledge(wanted)]
        stale = present & frozenset(owned) - wanted.addresses
        return [*commands, *(RemoveAddress(address) for address in _in_order(stale))]

    def _serve(self, wanted: HostState) -> list[Command]:
        """VIPs whose pool has a table: the others are nobody's yet."""
        loaded = self.loading.loaded
        vips = frozenset(vip for vip in wanted.vips if vip.pool in loaded)
        intake = {pool: each for pool, each in wanted.intake.items() if pool in loaded}
        serve = Serve(vips, intake, wanted.self_id)
        if serve == self.served:
            return []
        self.served = serve
        return [serve]

    def _acknowledge(self, wanted: HostState) -> list[Command]:
        loaded = self.loading.loaded
        epochs = {pool: loaded[pool] for pool in sorted(wanted.pools) if pool in loaded}
        acknowledge = Acknowledge(epochs, wanted.nodes)
        if acknowledge == self.acknowledged:
            return []
        self.acknowledged = acknowledge
        return [acknowledge]

    def forget(self) -> None:
        """Something could not be carried out: say everything again at the next view."""
        self.accepted = None
        self.served = None
        self.acknowledged = None
        self.loading.forget()


def host_state(view: FleetView, name: BackendName, loaded: Collection[PoolName] = ()) -> HostState:
    """Return what the fleet wants of the backend called `name`.

    Pools that are `loaded` stay served for as long as it is a member: a node that is behind may still send here, and
    what it sends is passed on by today's table.
    """
    member = view.backends.get(name)
    self_id = member.id if member is not None else None
    newest = {pool: epoch for pool in view.epochs if (epoch := view.newest(pool)) is not None}
    mine = frozenset(pool for pool in newest if holds_flows(view, pool, self_id))
    served = mine | _promised(wanted_fleet(view), name)
    if member is not None:
        served |= frozenset(loaded) & newest.keys()
    vips = view.desired.vips if view.desired is not None else ()
    return HostState(
        self_id=self_id,
        vips=frozenset(
            ServedVip(vip.address, vip.protocol, vip.port, vip.pool) for vip in vips if vip.pool in served
        ),
        sources=frozenset(source for node in view.nodes.values() for source in node.sources),
        peers=tuple(view.backends[peer] for peer in sorted(view.backends) if peer != name),
        nodes=tuple(sorted(view.nodes)),
        pools=mine,
        intake={pool: intake for pool in newest if (intake := _intake(view, pool, self_id))},
        leaves=frozenset(
            pool for pool in mine if _state(newest[pool], self_id) in (BackendState.DRAINING, None)
        ),
    )


def _intake(view: FleetView, pool: PoolName, backend: BackendId | None) -> Intake:
    """Return it by the newest epoch; who takes none by that one does by the current: nobody goes by an offer yet."""
    epochs = (view.newest(pool), view.current_epoch(pool))
    found = (intake_in(_state(epoch, backend)) for epoch in epochs if epoch is not None)
    return next((intake for intake in found if intake), Intake.NONE)


def _state(epoch: Epoch, backend: BackendId | None) -> BackendState | None:
    """The state in which `backend` sits in a slot, None when it sits in none."""
    return next((slot.state for slot in epoch.slots if backend and slot.backend == backend), None)


def holds_flows(view: FleetView, pool: PoolName, backend: BackendId | None) -> bool:
    """True when `backend` may hold flows of `pool`: the newest or the current epoch names it."""
    epochs = (view.newest(pool), view.current_epoch(pool))
    return backend is not None and any(epoch is not None and backend in epoch.named for epoch in epochs)


def _promised(desired: DesiredFleet | None, name: BackendName) -> set[PoolName]:
    """Pools that this backend is wanted in: it is ready before the first epoch that names it."""
    pools = desired.pools if desired is not None else ()
    return {pool.name for pool in pools if any(member.backend == name for member in pool.members)}


def _in_order(addresses: Iterable[VipAddress]) -> list[VipAddress]:
    return sorted(addresses, key=address_order)
