"""Who may call what, by the certificate that a caller has shown.

Reading needs any role, everything else that of an operator; a method that is not known to read is one that changes.
Callers on a unix socket, or on an address that the operator opened without TLS, may do everything: the door itself
was the check.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog

from lbnode.api.v1 import control_pb2, status_pb2
from lbnode.model.access import Identity, IdentityError, Right, identity_among
from lbnode.rpc.port import TlsPort

log = structlog.get_logger()

STATUS = status_pb2.DESCRIPTOR.services_by_name["Status"].full_name
CONTROL = control_pb2.DESCRIPTOR.services_by_name["Control"].full_name

READING_SERVICES = frozenset({STATUS, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"})
READING_METHODS = frozenset({f"/{CONTROL}/Plan", f"/{CONTROL}/Export"})

PLAIN = b"insecure"
NAMES = "x509_subject_alternative_name"
CERTIFICATE = "x509_pem_cert"

Check = Callable[[Any], Awaitable[None]]


def right_for(method: str) -> Right:
    """Return what a call of `method` ("/package.Service/Method") needs."""
    service = method.removeprefix("/").partition("/")[0]
    reads = service in READING_SERVICES or method in READING_METHODS
    return Right.READ if reads else Right.CHANGE


class Guard(grpc.aio.ServerInterceptor):
    """Refuses, before the node hears of it, a request that its maker's certificate does not allow."""

    def __init__(self, tls: TlsPort) -> None:
        self._tls = tls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def check(context: Any) -> None:
            refusal = self._refusal(context.auth_context(), method)
            if refusal:
                log.warning("rpc: refused", method=method, peer=context.peer(), reason=refusal)
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)

        words = (
            "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
        )
        kind = "_".join(words)
        return handler._replace(**{kind: _guarded(getattr(handler, kind), check)})

    def _refusal(self, caller: dict[str, list[bytes]], method: str) -> str:
        """Why the caller may not; empty if he may. Reason and remedy are two lines, as in all refusals."""
        if caller.get("transport_security_type") == [PLAIN]:
            return ""
        try:
            identity = identity_among(name.decode(errors="replace") for name in caller.get(NAMES, ()))
        except IdentityError as error:
            return f"{error}\nlbctl certs issue makes such certificates"
        if self._tls.is_revoked(caller[CERTIFICATE][0], identity):
            return f"this certificate of {identity} was revoked\nask for another: lbctl certs issue --renew"
        return self._shortcoming(identity, method)

    def _shortcoming(self, identity: Identity, method: str) -> str:
        right = right_for(method)
        if identity.fleet != self._tls.fleet:
            return f"{identity} is nobody in fleet {self._tls.fleet}\nuse a certificate of this fleet"
        if not identity.may(right):
            return f"{identity} may not {method.rpartition('/')[2]}\nuse the certificate of an operator"
        if right is Right.CHANGE:
            log.info("rpc: change asked", method=method.rpartition("/")[2], by=identity.name)
        return ""


def _guarded(behaviour: Callable[..., Any], check: Check) -> Callable[..., Any]:
    """Return `behaviour` behind `check`: gRPC tells coroutines and asynchronous generators apart by their look."""
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await check(context)
            async for response in behaviour(request, context):
                yield response

        return stream

    async def answer(request: Any, context: Any) -> Any:
        await check(context)
        return await behaviour(request, context)

    return answer
