"""Views of a fleet with one VIP, seen from backend `b1`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from uuid import UUID

from lbnode.core.history import build_table, earlier_epochs
from lbnode.model.epoch import BackendState, Epoch, EpochSlot, FormerOccupant
from lbnode.model.fleet import (
    Backend,
    DesiredFleet,
    HashAlgorithm,
    HashMode,
    Pool,
    PoolMember,
    Protocol,
    Vip,
)
from lbnode.model.ids import BackendId, BackendName, EpochNumber, NodeName, PoolName, SlotNumber
from lbnode.model.members import BackendMember, FleetIdentity, NodeMember
from lbnode.model.view import FleetView

FLEET = UUID("00000000-0000-4000-8000-000000000001")
WEB = PoolName("web")
B1, B2 = BackendName("b1"), BackendName("b2")
ID1, ID2 = BackendId(7), BackendId(8)
VIP = ip_address("192.0.2.80")
NODE1, NODE2 = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def epoch(
    number: int,
    *occupants: BackendId,
    former: tuple[BackendId, ...] = (),
    state: BackendState = BackendState.ACTIVE,
    window_from: int | None = None,
) -> Epoch:
    """An epoch of pool `web` whose slots are taken by `occupants`, all with agents, in `state`."""
    return Epoch(
        fleet=FLEET,
        pool=WEB,
        number=EpochNumber(number),
        algorithm=1,
        table_size=251,
        seed=1,
        hash_mode=HashMode.FLOW,
        hash_algorithm=HashAlgorithm.MULTIPLY,
        key_id=1,
        slots=tuple(
            EpochSlot(SlotNumber(i), 1, backend, state, agent=True) for i, backend in enumerate(occupants)
        ),
        former=tuple(
            FormerOccupant(SlotNumber(0), backend, BackendState.DRAINING, EpochNumber(number), agent=True)
            for backend in former
        ),
        window_from=EpochNumber(window_from or number),
        digest="",
    )


def view(
    *epochs: Epoch, current: int | None = None, members: tuple[BackendName, ...] = (B1, B2)
) -> FleetView:
    """A fleet of two nodes and two backends; `members` are in the pool as the operator wants it."""
    desired = DesiredFleet(
        "demo",
        (Backend(B1, (ip_address("10.0.1.1"),)), Backend(B2, (ip_address("10.0.1.2"),))),
        (Pool(WEB, tuple(PoolMember(name) for name in members)),),
        (Vip(VIP, Protocol.TCP, 80, WEB), Vip(VIP, Protocol.UDP, 53, WEB)),
    )
    sealed: dict[EpochNumber, Epoch] = {}
    for each in sorted(epochs, key=lambda each: each.number):
        known = {**sealed, each.number: each}
        sealed[each.number] = replace(each, digest=build_table(each, earlier_epochs(known, each)).digest())
    newest = max((each.number for each in epochs), default=None)
    using = EpochNumber(current) if current is not None else newest
    return FleetView(
        identity=FleetIdentity(FLEET, "demo", {1: "11" * 32}),
        desired=desired,
        nodes={
            NodeName("n1"): NodeMember(NodeName("n1"), (NODE1,), 1),
            NodeName("n2"): NodeMember(NodeName("n2"), (NODE2,), 1),
        },
        backends={
            B1: BackendMember(B1, ID1, (ip_address("10.0.1.1"),), True),
            B2: BackendMember(B2, ID2, (ip_address("10.0.1.2"),), True),
        },
        epochs={WEB: sealed} if sealed else {},
        current={WEB: using} if using is not None else {},
        connected=True,
    )


def without_vips(seen: FleetView) -> FleetView:
    """The same fleet after the operator removed its VIPs."""
    assert seen.desired is not None
    return replace(seen, desired=replace(seen.desired, vips=()))
