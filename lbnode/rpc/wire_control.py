"""`lbnode.model.requests` as messages of the Control service, and back.

`Apply` is not here: its message carries fleet.yaml as text, which the node reads and checks.
"""

from __future__ import annotations

from lbnode.api.v1 import control_pb2 as pb
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.requests import (
    AddBackend,
    Difference,
    DrainBackend,
    DrainNode,
    Outcome,
    RemoveBackend,
    RemoveNode,
    ReplaceBackend,
    UndrainBackend,
    UndrainNode,
    WeighBackend,
)
from lbnode.rpc.wire_enums import CHANGES, unpack_addresses


def _optional_pool(name: str) -> PoolName | None:
    return PoolName(name) if name else None


def unpack_drain_node(message: pb.DrainNodeRequest) -> DrainNode:
    return DrainNode(NodeName(message.node), force=message.force)


def unpack_undrain_node(message: pb.UndrainNodeRequest) -> UndrainNode:
    return UndrainNode(NodeName(message.node))


def unpack_remove_node(message: pb.RemoveNodeRequest) -> RemoveNode:
    return RemoveNode(NodeName(message.node), force=message.force)


def unpack_add_backend(message: pb.AddBackendRequest) -> AddBackend:
    return AddBackend(
        BackendName(message.name),
        PoolName(message.pool),
        unpack_addresses("addresses", message.addresses),
        message.weight or 1,
        force=message.force,
        agent=not message.no_agent,
    )


def unpack_weigh_backend(message: pb.WeighBackendRequest) -> WeighBackend:
    name, pool = BackendName(message.name), _optional_pool(message.pool)
    return WeighBackend(name, message.weight, pool, force=message.force)


def unpack_replace_backend(message: pb.ReplaceBackendRequest) -> ReplaceBackend:
    return ReplaceBackend(
        BackendName(message.name),
        BackendName(message.by),
        unpack_addresses("addresses", message.addresses),
        _optional_pool(message.pool),
        force=message.force,
        agent=not message.no_agent,
    )


def unpack_drain_backend(message: pb.DrainBackendRequest) -> DrainBackend:
    return DrainBackend(BackendName(message.name), _optional_pool(message.pool), force=message.force)


def unpack_undrain_backend(message: pb.UndrainBackendRequest) -> UndrainBackend:
    return UndrainBackend(BackendName(message.name), _optional_pool(message.pool), force=message.force)


def unpack_remove_backend(message: pb.RemoveBackendRequest) -> RemoveBackend:
    return RemoveBackend(BackendName(message.name), _optional_pool(message.pool), force=message.force)


def pack_drain_node(request: DrainNode) -> pb.DrainNodeRequest:
    return pb.DrainNodeRequest(node=request.node, force=request.force)


def pack_undrain_node(request: UndrainNode) -> pb.UndrainNodeRequest:
    return pb.UndrainNodeRequest(node=request.node)


def pack_remove_node(request: RemoveNode) -> pb.RemoveNodeRequest:
    return pb.RemoveNodeRequest(node=request.node, force=request.force)


def pack_add_backend(request: AddBackend) -> pb.AddBackendRequest:
    return pb.AddBackendRequest(
        name=request.name,
        pool=request.pool,
        addresses=[str(address) for address in request.addresses],
        weight=request.weight,
        force=request.force,
        no_agent=not request.agent,
    )


def pack_weigh_backend(request: WeighBackend) -> pb.WeighBackendRequest:
    pool = request.pool or ""
    return pb.WeighBackendRequest(name=request.name, weight=request.weight, pool=pool, force=request.force)


def pack_replace_backend(request: ReplaceBackend) -> pb.ReplaceBackendRequest:
    return pb.ReplaceBackendRequest(
        name=request.name,
        by=request.by,
        addresses=[str(address) for address in request.addresses],
        pool=request.pool or "",
        force=request.force,
        no_agent=not request.agent,
    )


def pack_drain_backend(request: DrainBackend) -> pb.DrainBackendRequest:
    return pb.DrainBackendRequest(name=request.name, pool=request.pool or "", force=request.force)


def pack_undrain_backend(request: UndrainBackend) -> pb.UndrainBackendRequest:
    return pb.UndrainBackendRequest(name=request.name, pool=request.pool or "", force=request.force)


def pack_remove_backend(request: RemoveBackend) -> pb.RemoveBackendRequest:
    return pb.RemoveBackendRequest(name=request.name, pool=request.pool or "", force=request.force)


def pack_outcome(outcome: Outcome) -> pb.ControlResponse:
    return pb.ControlResponse(
        applied=outcome.applied,
        version=outcome.version,
        differences=[pack_difference(one) for one in outcome.differences],
        warnings=outcome.warnings,
    )


def unpack_outcome(message: pb.ControlResponse) -> Outcome:
    return Outcome(
        applied=message.applied,
        version=message.version,
        differences=tuple(unpack_difference(one) for one in message.differences),
        warnings=tuple(message.warnings),
    )


def pack_difference(one: Difference) -> pb.Difference:
    return pb.Difference(change=CHANGES.pack(one.change), subject=one.subject, detail=one.detail)


def unpack_difference(message: pb.Difference) -> Difference:
    return Difference(CHANGES.unpack(message.change), message.subject, message.detail)
