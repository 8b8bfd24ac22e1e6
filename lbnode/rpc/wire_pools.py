"""Pools, their slots and former occupants as messages of the Status service, and back."""

from __future__ import annotations

from lbnode.api.v1 import status_pb2 as pb
from lbnode.model.ids import BackendId, BackendName, EpochNumber, NodeName, PoolName, SlotNumber
from lbnode.model.status import FormerStatus, PoolStatus, SlotStatus
from lbnode.model.tunnel import TunnelFamily
from lbnode.rpc.wire_enums import (
    AGENT_STATES,
    BACKEND_STATES,
    HASH_ALGORITHMS,
    HASH_MODES,
    TUNNEL_FAMILIES,
    unpack_address,
    unpack_epoch,
)
from lbnode.rpc.wire_flows import pack_held, unpack_held


def pack_pool(pool: PoolStatus) -> pb.Pool:
    """Return the message that says what is known of a pool."""
    return pb.Pool(
        name=pool.name,
        current_epoch=pool.current or 0,
        offered_epoch=pool.offered or 0,
        table_size=pool.table_size,
        hash_mode=HASH_MODES.pack(pool.hash_mode),
        hash_algorithm=HASH_ALGORITHMS.pack(pool.hash_algorithm),
        digest=pool.digest,
        slots=[_pack_slot(slot) for slot in pool.slots],
        former=[_pack_former(former) for former in pool.former],
        window_from=pool.window_from or 0,
        window_s=pool.window_s,
        flow_table=pool.flow_table,
        held=[pack_held(held) for held in pool.held],
        behind={str(name): why for name, why in pool.behind.items()},
        tunnel=TUNNEL_FAMILIES.pack(pool.tunnel),
    )


def unpack_pool(message: pb.Pool) -> PoolStatus:
    """Return what `message` says of a pool; WireError for a message that says nothing valid."""
    return PoolStatus(
        name=PoolName(message.name),
        current=unpack_epoch(message.current_epoch),
        offered=unpack_epoch(message.offered_epoch),
        table_size=message.table_size,
        hash_mode=HASH_MODES.unpack(message.hash_mode),
        hash_algorithm=HASH_ALGORITHMS.unpack(message.hash_algorithm),
        digest=message.digest,
        slots=tuple(_unpack_slot(slot) for slot in message.slots),
        former=tuple(_unpack_former(former) for former in message.former),
        window_from=unpack_epoch(message.window_from),
        window_s=message.window_s,
        flow_table=message.flow_table,
        held=tuple(unpack_held(held) for held in message.held),
        behind={NodeName(name): why for name, why in message.behind.items()},
        tunnel=TUNNEL_FAMILIES.unpack_optional(message.tunnel) or TunnelFamily.IPV4,
    )


def _pack_slot(slot: SlotStatus) -> pb.Slot:
    return pb.Slot(
        number=slot.number,
        weight=slot.weight,
        backend=slot.backend or "",
        backend_id=slot.id or 0,
        address=str(slot.address or ""),
        state=BACKEND_STATES.pack(slot.state),
        buckets=slot.buckets,
        agent=AGENT_STATES.pack(slot.agent),
        failing_on=slot.failing_on,
        flows=slot.flows,
        drained=slot.drained,
        no_second_chance=slot.no_second_chance,
    )


def _unpack_slot(message: pb.Slot) -> SlotStatus:
    return SlotStatus(
        number=SlotNumber(message.number),
        weight=message.weight,
        backend=BackendName(message.backend) if message.backend else None,
        id=BackendId(message.backend_id) if message.backend_id else None,
        address=unpack_address("slot", message.address) if message.address else None,
        state=BACKEND_STATES.unpack(message.state),
        buckets=message.buckets,
        agent=AGENT_STATES.unpack(message.agent),
        failing_on=tuple(NodeName(name) for name in message.failing_on),
        flows=message.flows if message.HasField("flows") else None,
        drained=message.drained,
        no_second_chance=dict(message.no_second_chance),
    )


def _pack_former(former: FormerStatus) -> pb.Former:
    return pb.Former(
        slot=former.slot,
        backend=former.backend or "",
        backend_id=former.id,
        address=str(former.address or ""),
        state=BACKEND_STATES.pack(former.state),
        left_in=former.left_in,
        agent=AGENT_STATES.pack(former.agent),
        flows=former.flows,
    )


def _unpack_former(message: pb.Former) -> FormerStatus:
    return FormerStatus(
        slot=SlotNumber(message.slot),
        backend=BackendName(message.backend) if message.backend else None,
        id=BackendId(message.backend_id),
        address=unpack_address("former", message.address) if message.address else None,
        state=BACKEND_STATES.unpack(message.state),
        left_in=EpochNumber(message.left_in),
        agent=AGENT_STATES.unpack(message.agent),
        flows=message.flows if message.HasField("flows") else None,
    )
