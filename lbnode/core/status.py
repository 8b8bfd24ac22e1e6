"""The fleet's status out of what one node knows: who is there, what is in use, who agrees.

Decides how records become a status and where nodes disagree. Does not decide what of it is wrong: that is
`lbnode.core.problems`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from lbnode.core.attendance import behind
from lbnode.core.drain import flows_left, is_over
from lbnode.core.epochs import allot_slots
from lbnode.core.history import build_table
from lbnode.core.problems import find_problems
from lbnode.core.vips import digest_of
from lbnode.model.epoch import BackendState, Epoch, EpochSlot, FormerOccupant
from lbnode.model.fleet import Pool, Vip
from lbnode.model.ids import BackendId, IPAddress, NodeName, PoolName
from lbnode.model.members import BackendMember, LoadedEpoch, NodeLive, View
from lbnode.model.status import (
    AgentState,
    FleetStatus,
    FormerStatus,
    NodePool,
    NodeStatus,
    PoolStatus,
    SlotStatus,
    VipStatus,
)
from lbnode.model.tunnel import TunnelFamily, tunnel_end
from lbnode.model.view import FleetView
from ring.shares import buckets_by_backend

NOT_APPLIED = "(nothing applied yet)"


def assess(
    view: FleetView,
    own: NodeLive,
    in_use: Mapping[PoolName, Epoch],
    now: float,
    gone_at: Mapping[NodeName, float] | None = None,
    trouble: str = "",
) -> FleetStatus:
    """Return the fleet's status as the node that is `own` sees it; `now` in seconds of the wall clock.

    `gone_at`: since when nodes have been missing, as far as that was seen (`lbnode.core.attendance`).
    `trouble`: what is wrong with the store.

    Without the store (`view.connected` is False) nothing is known of who else is connected, what agents count and what
    is held; and pools are shown as this node's kernel has them `in_use`, its own health verdicts included.
    """
    gone_at = gone_at or {}
    if not view.connected:
        view = replace(view, live_nodes={}, live_agents={}, held={})
    view = replace(view, live_nodes={**view.live_nodes, own.name: own})
    disagreements = tuple(_disagreements(view))
    status = FleetStatus(
        fleet=_name(view),
        uuid=view.identity.uuid if view.identity is not None else None,
        answered_by=own.name,
        view=View.FLEET if view.connected else View.LOCAL,
        leader=view.leader if view.connected else None,
        agree=view.connected and not disagreements,
        disagreements=disagreements,
        problems=(),
        nodes=tuple(_node(view, name, own, now, gone_at) for name in sorted({*view.nodes, *view.live_nodes})),
        vips=tuple(_vip(view, vip) for vip in _vips(view)),
        pools=tuple(
            _pool(view, pool, _epoch(view, pool, in_use), own, gone_at)
            for pool in (view.desired.pools if view.desired else ())
        ),
        corrupt=view.corrupt,
    )
    return replace(status, problems=find_problems(view, status, trouble))


@lru_cache(maxsize=256)
def owned_buckets(epoch: Epoch) -> dict[int, int]:
    """Return how many buckets each backend owns in the table of `epoch`, by id (0: nobody)."""
    return buckets_by_backend(build_table(epoch).owners)


def _name(view: FleetView) -> str:
    if view.identity is not None:
        return view.identity.name
    return view.desired.name if view.desired is not None else NOT_APPLIED


def _disagreements(view: FleetView) -> Iterator[str]:
    """Where connected nodes forward by something else than the fleet's current epochs."""
    if not view.connected:
        yield "the store is out of reach: what other nodes use is not known here"
        return
    vips = digest_of(vip for vip in _vips(view) if vip.pool in view.current)
    for name, node in sorted(view.live_nodes.items()):
        if node.vips not in ("", vips):
            yield f"node {name}: the VIPs in its kernel are not those of the fleet"
        for pool, number in sorted(view.current.items()):
            epoch, loaded = view.current_epoch(pool), node.pools.get(pool)
            current = loaded.current if loaded is not None else None
            if current != number:
                uses = "no table" if current is None else f"epoch {current}"
                yield f"node {name}, pool {pool}: uses {uses}, the fleet's is epoch {number}"
            elif loaded is not None and epoch is not None and loaded.digest != epoch.digest:
                yield f"node {name}, pool {pool}: epoch {number} {_what_differs(loaded, epoch)}"


def _what_differs(loaded: LoadedEpoch, epoch: Epoch) -> str:
    if loaded.is_own:
        return "with its own health verdicts on top, until the fleet has them"
    return f"with digest {loaded.digest[:12]}, the fleet's is {epoch.digest[:12]}"


def _node(
    view: FleetView, name: NodeName, own: NodeLive, now: float, gone_at: Mapping[NodeName, float]
) -> NodeStatus:
    member, live = view.nodes.get(name), view.live_nodes.get(name)
    status = NodeStatus(
        name=name,
        connected=live is not None,
        drained=name in view.intents.drained_nodes,
        sources=member.sources if member is not None else (),
    )
    if live is None:
        return replace(status, gone_s=max(0.0, now - gone_at[name])) if name in gone_at else status
    return replace(
        status,
        version=live.version,
        state=live.state,
        view=View.LOCAL if name == own.name and not view.connected else View.FLEET,
        uptime_s=max(0.0, now - live.started_at),
        rpc_address=live.rpc_address,
        announced=live.announced,
        routers=live.routers,
        xdp=live.xdp,
        pools=tuple(_node_pool(view, pool, live) for pool in sorted({*live.pools, *view.current})),
        alarms=live.alarms,
    )


def _node_pool(view: FleetView, pool: PoolName, live: NodeLive) -> NodePool:
    loaded, epoch = live.pools.get(pool), view.current_epoch(pool)
    if loaded is None:
        return NodePool(pool, None, None, "", agrees=False)
    agrees = epoch is not None and (loaded.current, loaded.digest) == (epoch.number, epoch.digest)
    return NodePool(pool, loaded.current, loaded.staged, loaded.digest, agrees, loaded.problem)


def _vips(view: FleetView) -> tuple[Vip, ...]:
    return view.desired.vips if view.desired is not None else ()


def _vip(view: FleetView, vip: Vip) -> VipStatus:
    announcing = [name for name, live in sorted(view.live_nodes.items()) if vip.address in live.announced]
    return VipStatus(vip.address, vip.protocol, vip.port, vip.pool, vip.wrong_port, tuple(announcing))


def _epoch(view: FleetView, pool: Pool, in_use: Mapping[PoolName, Epoch]) -> Epoch | None:
    return view.current_epoch(pool.name) if view.connected else in_use.get(pool.name)


def _used(view: FleetView, pool: Pool, epoch: Epoch | None, own: NodeLive) -> LoadedEpoch:
    """What carries the pool's traffic; without the store it may be a table that is newer than the copy on disk."""
    if epoch is not None:
        return LoadedEpoch(None, epoch.number, epoch.digest)
    nothing = LoadedEpoch(None, None, "")
    return nothing if view.connected else own.pools.get(pool.name, nothing)


def _pool(
    view: FleetView, pool: Pool, epoch: Epoch | None, own: NodeLive, gone_at: Mapping[NodeName, float]
) -> PoolStatus:
    newest, used = view.newest(pool.name), _used(view, pool, epoch, own)
    is_offer = newest is not None and (used.current is None or newest.number > used.current)
    shown = epoch or newest
    shape = shown or pool
    members = {member.id: member for member in view.backends.values()}
    owned = owned_buckets(epoch) if epoch is not None else {}
    return PoolStatus(
        name=pool.name,
        current=used.current,
        offered=newest.number if newest is not None and is_offer else None,
        table_size=shape.table_size,
        hash_mode=shape.hash_mode,
        hash_algorithm=shape.hash_algorithm,
        digest=used.digest,
        slots=tuple(
            _slot(view, pool.name, slot, members, owned, shape.tunnel)
            for slot in (*(shown.slots if shown is not None else ()), *_newcomers(view, pool, shown))
        ),
        former=tuple(
            _former(view, pool.name, former, members, shape.tunnel)
            for former in (shown.former if shown is not None else ())
        ),
        window_from=shown.window_from if shown is not None else None,
        window_s=pool.affinity_window_s,
        flow_table=pool.flow_table,
        held=view.held[pool.name].changes if pool.name in view.held else (),
        behind=behind(view, epoch, gone_at) if epoch is not None else {},
        tunnel=shape.tunnel,
    )


def _newcomers(view: FleetView, pool: Pool, epoch: Epoch | None) -> Iterator[EpochSlot]:
    """Members that get their slots when they are ready, as they would sit there now."""
    if epoch is None:
        return
    names = {member.id: name for name, member in view.backends.items()}
    seated = {slot.number: names[slot.backend] for slot in epoch.slots if slot.backend in names}
    allotted = allot_slots(pool.members, seated)
    numbers = {slot.number for slot in epoch.slots}
    for member in sorted(pool.members, key=lambda member: allotted[member.backend]):
        known = view.backends.get(member.backend)
        if known is not None and allotted[member.backend] not in numbers:
            yield EpochSlot(
                allotted[member.backend], member.weight, known.id, BackendState.FAILED, known.agent
            )


def _slot(
    view: FleetView,
    pool: PoolName,
    slot: EpochSlot,
    members: dict[BackendId, BackendMember],
    owned: dict[int, int],
    tunnel: TunnelFamily,
) -> SlotStatus:
    member = members.get(slot.backend) if slot.backend is not None else None
    name = member.name if member is not None else None
    leaver = name if slot.state is not BackendState.ACTIVE else None
    agent = view.live_agents.get(name) if name is not None else None
    return SlotStatus(
        number=slot.number,
        weight=slot.weight,
        backend=name,
        id=slot.backend,
        address=_tunnel_end(member, tunnel),
        state=slot.state,
        buckets=owned.get(slot.backend, 0) if slot.backend is not None else 0,
        agent=_agent(view, member),
        failing_on=view.failing_on(pool, name) if name is not None else (),
        flows=flows_left(view, pool, leaver) if leaver is not None else None,
        drained=leaver is not None and is_over(view, pool, leaver),
        no_second_chance=agent.no_second_chance if agent is not None else {},
    )


def _former(
    view: FleetView,
    pool: PoolName,
    former: FormerOccupant,
    members: dict[BackendId, BackendMember],
    tunnel: TunnelFamily,
) -> FormerStatus:
    member = members.get(former.backend)
    return FormerStatus(
        slot=former.slot,
        backend=member.name if member is not None else None,
        id=former.backend,
        address=_tunnel_end(member, tunnel),
        state=former.state,
        left_in=former.left_in,
        agent=_agent(view, member),
        flows=flows_left(view, pool, member.name) if member is not None else None,
    )


def _tunnel_end(member: BackendMember | None, tunnel: TunnelFamily) -> IPAddress | None:
    return tunnel_end(member.addresses, tunnel) if member is not None else None


def _agent(view: FleetView, member: BackendMember | None) -> AgentState:
    if member is None:
        return AgentState.NONE
    if member.name in view.live_agents:
        return AgentState.CONNECTED
    if not view.connected and member.agent:
        return AgentState.UNKNOWN
    return AgentState.SILENT if member.agent or member.name in view.agents else AgentState.NONE
