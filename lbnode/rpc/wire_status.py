"""`lbnode.model.status` as messages of the Status service, and back."""

from __future__ import annotations

from uuid import UUID

from lbnode.api.v1 import status_pb2 as pb
from lbnode.model.ids import NodeName, PoolName
from lbnode.model.status import (
    FleetStatus,
    NodePool,
    NodeStatus,
    Problem,
    VipStatus,
)
from lbnode.model.vip import PortRange
from lbnode.rpc.errors import WireError
from lbnode.rpc.wire_enums import (
    PROTOCOLS,
    SEVERITIES,
    VIEWS,
    WRONG_PORTS,
    unpack_addresses,
    unpack_epoch,
    unpack_vip_address,
)
from lbnode.rpc.wire_pools import pack_pool, unpack_pool


def pack_status(status: FleetStatus) -> pb.GetStatusResponse:
    """Return the message that says `status`."""
    return pb.GetStatusResponse(
        fleet=status.fleet,
        uuid=str(status.uuid or ""),
        answered_by=status.answered_by,
        view=VIEWS.pack(status.view),
        leader=status.leader or "",
        agree=status.agree,
        disagreements=status.disagreements,
        problems=[_pack_problem(problem) for problem in status.problems],
        nodes=[_pack_node(node) for node in status.nodes],
        vips=[_pack_vip(vip) for vip in status.vips],
        pools=[pack_pool(pool) for pool in status.pools],
        corrupt=status.corrupt,
    )


def unpack_status(message: pb.GetStatusResponse) -> FleetStatus:
    """Return the status that `message` says; WireError for a message that says none."""
    return FleetStatus(
        fleet=message.fleet,
        uuid=_unpack_uuid(message.uuid),
        answered_by=NodeName(message.answered_by),
        view=VIEWS.unpack(message.view),
        leader=NodeName(message.leader) if message.leader else None,
        agree=message.agree,
        disagreements=tuple(message.disagreements),
        problems=tuple(_unpack_problem(problem) for problem in message.problems),
        nodes=tuple(_unpack_node(node) for node in message.nodes),
        vips=tuple(_unpack_vip(vip) for vip in message.vips),
        pools=tuple(unpack_pool(pool) for pool in message.pools),
        corrupt=tuple(message.corrupt),
    )


def _unpack_uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise WireError(f"uuid: {text!r} is not a UUID") from None


def _pack_problem(problem: Problem) -> pb.Problem:
    return pb.Problem(
        severity=SEVERITIES.pack(problem.severity),
        subject=problem.subject,
        what=problem.what,
        remedy=problem.remedy,
    )


def _unpack_problem(message: pb.Problem) -> Problem:
    return Problem(SEVERITIES.unpack(message.severity), message.subject, message.what, message.remedy)


def _pack_node(node: NodeStatus) -> pb.Node:
    return pb.Node(
        name=node.name,
        connected=node.connected,
        drained=node.drained,
        version=node.version,
        state=node.state,
        view=VIEWS.pack(node.view) if node.view else pb.VIEW_UNSPECIFIED,
        uptime_s=node.uptime_s,
        rpc_address=node.rpc_address,
        sources=[str(address) for address in node.sources],
        announced=[str(address) for address in node.announced],
        routers=node.routers,
        xdp=node.xdp,
        pools=[_pack_node_pool(pool) for pool in node.pools],
        alarms=node.alarms,
        gone_s=node.gone_s,
    )


def _unpack_node(message: pb.Node) -> NodeStatus:
    return NodeStatus(
        name=NodeName(message.name),
        connected=message.connected,
        drained=message.drained,
        version=message.version,
        state=message.state,
        view=VIEWS.unpack_optional(message.view),
        uptime_s=message.uptime_s,
        rpc_address=message.rpc_address,
        sources=unpack_addresses("sources", list(message.sources)),
        announced=tuple(unpack_vip_address("announced", text) for text in message.announced),
        routers=dict(message.routers),
        xdp=dict(message.xdp),
        pools=tuple(_unpack_node_pool(pool) for pool in message.pools),
        alarms=tuple(message.alarms),
        gone_s=message.gone_s if message.HasField("gone_s") else None,
    )


def _pack_node_pool(pool: NodePool) -> pb.NodePool:
    return pb.NodePool(
        pool=pool.pool,
        current_epoch=pool.current or 0,
        staged_epoch=pool.staged or 0,
        digest=pool.digest,
        agrees=pool.agrees,
        problem=pool.problem,
    )


def _unpack_node_pool(message: pb.NodePool) -> NodePool:
    return NodePool(
        pool=PoolName(message.pool),
        current=unpack_epoch(message.current_epoch),
        staged=unpack_epoch(message.staged_epoch),
        digest=message.digest,
        agrees=message.agrees,
        problem=message.problem,
    )


def _pack_vip(vip: VipStatus) -> pb.Vip:
    return pb.Vip(
        address=str(vip.address),
        protocol=PROTOCOLS.pack(vip.protocol),
        port=vip.key.ports.first,
        last_port=0 if isinstance(vip.port, int) else vip.port.last,
        pool=vip.pool,
        wrong_port=WRONG_PORTS.pack(vip.wrong_port),
        announced_by=vip.announced_by,
    )


def _unpack_vip(message: pb.Vip) -> VipStatus:
    return VipStatus(
        address=unpack_vip_address("vip", message.address),
        protocol=PROTOCOLS.unpack(message.protocol),
        port=PortRange(message.port, message.last_port) if message.last_port else message.port,
        pool=PoolName(message.pool),
        wrong_port=WRONG_PORTS.unpack(message.wrong_port),
        announced_by=tuple(NodeName(name) for name in message.announced_by),
    )
