"""What a backend's machine must hold, decided from the fleet's view. Pure.

Decides which VIPs this backend answers for, whose GRE it accepts and which epochs it may acknowledge, and in
which order the machine gets there: what lets packets in comes first, what shuts them out last. A view without
identity says nothing (an empty store is no fleet): then what an earlier agent left stays.

Does not decide who is alive, nor what becomes of a single packet (lbnode/bpf/decap_chance.h).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Protocol, Vip
from lbnode.model.ids import BackendId, BackendName, EpochNumber, IPAddress, NodeName, PoolName
from lbnode.model.view import FleetView


@dataclass(frozen=True, slots=True)
class ServedVip:
    """A VIP that this backend answers for; `stamp` is its pool's, `self_id` is 0 without a place there."""

    address: IPAddress
    protocol: Protocol
    port: int
    stamp: int
    self_id: int


@dataclass(frozen=True, slots=True)
class HostState:
    """All that the fleet wants of this machine, whole."""

    vips: frozenset[ServedVip] = frozenset()
    sources: frozenset[IPAddress] = frozenset()
    nodes: tuple[NodeName, ...] = ()
    epochs: dict[PoolName, EpochNumber] = field(default_factory=dict)

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The VIPs' addresses: what `lo` must hold."""
        return frozenset(vip.address for vip in self.vips)


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put a VIP's address on lo."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take a VIP's address off lo, if it was this agent that put it there."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class Accept:
    """Take GRE from exactly `sources`, with inner packets for exactly `vips`."""

    sources: frozenset[IPAddress]
    vips: frozenset[ServedVip]


@dataclass(frozen=True, slots=True)
class Attach:
    """Have the programs hang on the interface; nothing happens where they do."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the fleet what is loaded now: the newest epochs of this backend's pools and the members let in."""

    epochs: dict[PoolName, EpochNumber]
    nodes: tuple[NodeName, ...]


Command = AddAddress | RemoveAddress | Accept | Attach | Acknowledge


@dataclass(slots=True)
class Plan:
    """The state machine of one agent: views in, commands out. `wanted` is what the last view asked for."""

    name: BackendName
    wanted: HostState | None = None
    accepted: Accept | None = None
    acknowledged: Acknowledge | None = None

    def handle(
        self, view: FleetView, on_lo: Iterable[IPAddress], owned: Iterable[IPAddress]
    ) -> list[Command]:
        """Return what to do, in order: all of it, or the caller calls `forget` and hands the view in again.

        `on_lo` are the addresses that lo has, `owned` those that an agent put there.
        """
        if view.identity is None:
            return [Attach()]
        self.wanted = wanted = host_state(view, self.name)
        present = frozenset(on_lo)
        commands: list[Command] = [AddAddress(address) for address in _in_order(wanted.addresses - present)]
        accept = Accept(wanted.sources, wanted.vips)
        if accept != self.accepted:
            self.accepted = accept
            commands.append(accept)
        commands.append(Attach())
        acknowledge = Acknowledge(wanted.epochs, wanted.nodes)
        if acknowledge != self.acknowledged:
            self.acknowledged = acknowledge
            commands.append(acknowledge)
        stale = present & frozenset(owned) - wanted.addresses
        return [*commands, *(RemoveAddress(address) for address in _in_order(stale))]

    def forget(self) -> None:
        """Something could not be carried out: say everything again at the next view."""
        self.accepted = None
        self.acknowledged = None


def host_state(view: FleetView, name: BackendName) -> HostState:
    """Return what the fleet wants of the backend called `name`."""
    member = view.backends.get(name)
    self_id = member.id if member is not None else None
    newest = {pool: epoch for pool in view.epochs if (epoch := view.newest(pool)) is not None}
    mine = {pool for pool in newest if holds_flows(view, pool, self_id)}
    served = mine | _promised(view.desired, name)
    vips = view.desired.vips if view.desired is not None else ()
    return HostState(
        vips=frozenset(_served(vip, newest.get(vip.pool), self_id) for vip in vips if vip.pool in served),
        sources=frozenset(source for node in view.nodes.values() for source in node.sources),
        nodes=tuple(sorted(view.nodes)),
        epochs={pool: newest[pool].number for pool in sorted(mine)},
    )


def holds_flows(view: FleetView, pool: PoolName, backend: BackendId | None) -> bool:
    """True when `backend` may hold flows of `pool`: the newest or the current epoch names it."""
    epochs = (view.newest(pool), view.current_epoch(pool))
    return backend is not None and any(epoch is not None and backend in occupants(epoch) for epoch in epochs)


def occupants(epoch: Epoch) -> frozenset[BackendId]:
    """Return everybody whom `epoch` names: in a slot, whatever the state, or as former occupant."""
    seated = {slot.backend for slot in epoch.slots if slot.backend is not None}
    return frozenset(seated | {former.backend for former in epoch.former})


def _promised(desired: DesiredFleet | None, name: BackendName) -> set[PoolName]:
    """Pools that the operator put this backend into: it is ready before the first epoch that names it."""
    pools = desired.pools if desired is not None else ()
    return {pool.name for pool in pools if any(member.backend == name for member in pool.members)}


def _served(vip: Vip, epoch: Epoch | None, backend: BackendId | None) -> ServedVip:
    seated = epoch is not None and any(slot.backend == backend for slot in epoch.slots)
    return ServedVip(
        address=vip.address,
        protocol=vip.protocol,
        port=vip.port,
        stamp=epoch.stamp if epoch is not None else 0,
        self_id=backend if backend is not None and seated else 0,
    )


def _in_order(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    return sorted(addresses, key=lambda address: (address.version, int(address)))
