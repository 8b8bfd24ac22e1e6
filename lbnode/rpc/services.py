"""The Status and Control services over a `ClusterPort`: unpack, ask the node, pack.

Refusals become status codes; method names are the protos'.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc

from lbnode.api.v1 import control_pb2, control_pb2_grpc, status_pb2, status_pb2_grpc
from lbnode.model.requests import Refusal, RefusalKind
from lbnode.rpc import wire_control
from lbnode.rpc.errors import WireError
from lbnode.rpc.port import ClusterPort, Verb
from lbnode.rpc.wire_explanation import pack_explanation, unpack_question
from lbnode.rpc.wire_forecast import pack_forecast
from lbnode.rpc.wire_status import pack_status
from lbnode.rpc.wire_traffic import pack_traffic

CODES = {
    RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    RefusalKind.UNKNOWN: grpc.StatusCode.NOT_FOUND,
    RefusalKind.STATE: grpc.StatusCode.FAILED_PRECONDITION,
    RefusalKind.CONFLICT: grpc.StatusCode.ABORTED,
    RefusalKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
MAX_DETAILS = 4000
"""Characters of a status message: it travels in a header, and gRPC's limit on those is 8 KB."""

Context = grpc.aio.ServicerContext[Any, Any]
Message = TypeVar("Message")
Answer = TypeVar("Answer")


class StatusService(status_pb2_grpc.StatusServicer):
    """What the fleet is doing."""

    def __init__(self, cluster: ClusterPort) -> None:
        self._cluster = cluster

    async def GetStatus(  # noqa: N802
        self, _request: status_pb2.GetStatusRequest, context: Context
    ) -> status_pb2.GetStatusResponse:
        return pack_status(await _answer(context, self._cluster.status()))

    async def GetTraffic(  # noqa: N802
        self, _request: status_pb2.GetTrafficRequest, context: Context
    ) -> status_pb2.GetTrafficResponse:
        return pack_traffic(await _answer(context, self._cluster.traffic()))

    async def Explain(  # noqa: N802
        self, request: status_pb2.ExplainRequest, context: Context
    ) -> status_pb2.ExplainResponse:
        question = await _unpack(context, unpack_question, request)
        return pack_explanation(await _answer(context, self._cluster.explain(question)))


class ControlService(control_pb2_grpc.ControlServicer):
    """What operators ask of the fleet."""

    def __init__(self, cluster: ClusterPort) -> None:
        self._cluster = cluster

    async def Apply(  # noqa: N802
        self, request: control_pb2.ApplyRequest, context: Context
    ) -> control_pb2.ControlResponse:
        based_on = request.based_on if request.HasField("based_on") else None
        asked = self._cluster.apply(
            request.fleet_yaml, dry_run=request.dry_run, based_on=based_on, force=request.force
        )
        return wire_control.pack_outcome(await _answer(context, asked))

    async def Plan(  # noqa: N802
        self, request: control_pb2.PlanRequest, context: Context
    ) -> control_pb2.PlanResponse:
        return pack_forecast(await _answer(context, self._cluster.plan(request.fleet_yaml)))

    async def Export(  # noqa: N802
        self, _request: control_pb2.ExportRequest, context: Context
    ) -> control_pb2.ExportResponse:
        return control_pb2.ExportResponse(fleet_yaml=await _answer(context, self._cluster.export()))

    async def DrainNode(  # noqa: N802
        self, request: control_pb2.DrainNodeRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_drain_node, request)

    async def UndrainNode(  # noqa: N802
        self, request: control_pb2.UndrainNodeRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_undrain_node, request)

    async def RemoveNode(  # noqa: N802
        self, request: control_pb2.RemoveNodeRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_remove_node, request)

    async def AddBackend(  # noqa: N802
        self, request: control_pb2.AddBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_add_backend, request)

    async def WeighBackend(  # noqa: N802
        self, request: control_pb2.WeighBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_weigh_backend, request)

    async def ReplaceBackend(  # noqa: N802
        self, request: control_pb2.ReplaceBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_replace_backend, request)

    async def DrainBackend(  # noqa: N802
        self, request: control_pb2.DrainBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_drain_backend, request)

    async def UndrainBackend(  # noqa: N802
        self, request: control_pb2.UndrainBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_undrain_backend, request)

    async def RemoveBackend(  # noqa: N802
        self, request: control_pb2.RemoveBackendRequest, context: Context
    ) -> control_pb2.ControlResponse:
        return await self._carry_out(context, wire_control.unpack_remove_backend, request)

    async def _carry_out(
        self, context: Context, unpack: Callable[[Message], Verb], request: Message
    ) -> control_pb2.ControlResponse:
        verb = await _unpack(context, unpack, request)
        return wire_control.pack_outcome(await _answer(context, self._cluster.control(verb)))


async def _unpack(context: Context, unpack: Callable[[Message], Answer], message: Message) -> Answer:
    try:
        return unpack(message)
    except WireError as error:
        await _refuse(context, Refusal(RefusalKind.INVALID, str(error)))


async def _answer(context: Context, asked: Awaitable[Answer | Refusal]) -> Answer:
    answer = await asked
    if isinstance(answer, Refusal):
        await _refuse(context, answer)
    return answer


async def _refuse(context: Context, refusal: Refusal) -> NoReturn:
    await context.abort(CODES[refusal.kind], refusal_details(refusal))


def refusal_details(refusal: Refusal) -> str:
    """Return a refusal as a status message: reason, remedy on the last line; cut to fit a header."""
    reason = refusal.reason
    if len(reason) > MAX_DETAILS:
        kept = reason[:MAX_DETAILS].rpartition("\n")[0] or reason[:MAX_DETAILS]
        left = reason.count("\n") - kept.count("\n")
        reason = f"{kept}\n… and {left} more" if left else f"{kept}…"
    return f"{reason}\n{refusal.remedy}"
