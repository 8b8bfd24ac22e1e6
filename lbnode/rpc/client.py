"""The client that `lbctl` speaks to a node with: values in, values out, a deadline on every call."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc

from lbnode.api.v1 import control_pb2, control_pb2_grpc, status_pb2, status_pb2_grpc
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.forecast import Forecast
from lbnode.model.requests import (
    AddBackend,
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
from lbnode.model.status import FleetStatus
from lbnode.model.traffic import Traffic
from lbnode.rpc import wire_control
from lbnode.rpc.errors import RefusedError, RpcError, UnreachableError
from lbnode.rpc.listen import UNIX
from lbnode.rpc.port import TlsMaterial
from lbnode.rpc.wire_explanation import pack_question, unpack_explanation
from lbnode.rpc.wire_forecast import unpack_forecast
from lbnode.rpc.wire_status import unpack_status
from lbnode.rpc.wire_traffic import unpack_traffic

DEFAULT_ADDRESS = "unix:/run/evenkeel/lbnode/rpc.sock"
DEADLINE_S = 10.0
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.PERMISSION_DENIED,
}

Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)


class _Call(Protocol[Sent, Received]):
    def __call__(self, request: Sent, /, *, timeout: float | None = None) -> Received: ...


class FleetClient:
    """One connection to one node; a context manager.

    `tls` is who the caller is, and by whose signature the node is believed; a unix socket needs none. Every method
    raises UnreachableError when nobody answers within the deadline, and RefusedError when the
    node answers no.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        deadline_s: float = DEADLINE_S,
        tls: TlsMaterial | None = None,
    ) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._tls = None if address.startswith(UNIX) else tls
        self._channel = _open(address, self._tls)
        self._status = status_pb2_grpc.StatusStub(self._channel)
        self._control = control_pb2_grpc.ControlStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def status(self) -> FleetStatus:
        """Return the fleet as the node sees it."""
        return unpack_status(self._call(self._status.GetStatus, status_pb2.GetStatusRequest()))

    def traffic(self) -> Traffic:
        """Return what the node's kernel has counted."""
        return unpack_traffic(self._call(self._status.GetTraffic, status_pb2.GetTrafficRequest()))

    def explain(self, question: FlowQuestion) -> Explanation:
        """Return what becomes of a flow."""
        return unpack_explanation(self._call(self._status.Explain, pack_question(question)))

    def apply(
        self, fleet_yaml: str, *, dry_run: bool = False, based_on: int | None = None, force: bool = False
    ) -> Outcome:
        """Make the fleet what the text says, or with `dry_run` return what would change."""
        request = control_pb2.ApplyRequest(
            fleet_yaml=fleet_yaml, dry_run=dry_run, based_on=based_on, force=force
        )
        return wire_control.unpack_outcome(self._call(self._control.Apply, request))

    def plan(self, fleet_yaml: str) -> Forecast:
        """Return what applying the text would do to the flows."""
        return unpack_forecast(self._call(self._control.Plan, control_pb2.PlanRequest(fleet_yaml=fleet_yaml)))

    def export(self) -> str:
        """Return the desired fleet as the text of a fleet.yaml."""
        return self._call(self._control.Export, control_pb2.ExportRequest()).fleet_yaml

    def drain_node(self, request: DrainNode) -> Outcome:
        return self._carry_out(self._control.DrainNode, wire_control.pack_drain_node(request))

    def undrain_node(self, request: UndrainNode) -> Outcome:
        return self._carry_out(self._control.UndrainNode, wire_control.pack_undrain_node(request))

    def remove_node(self, request: RemoveNode) -> Outcome:
        return self._carry_out(self._control.RemoveNode, wire_control.pack_remove_node(request))

    def add_backend(self, request: AddBackend) -> Outcome:
        return self._carry_out(self._control.AddBackend, wire_control.pack_add_backend(request))

    def weigh_backend(self, request: WeighBackend) -> Outcome:
        return self._carry_out(self._control.WeighBackend, wire_control.pack_weigh_backend(request))

    def replace_backend(self, request: ReplaceBackend) -> Outcome:
        return self._carry_out(self._control.ReplaceBackend, wire_control.pack_replace_backend(request))

    def drain_backend(self, request: DrainBackend) -> Outcome:
        return self._carry_out(self._control.DrainBackend, wire_control.pack_drain_backend(request))

    def undrain_backend(self, request: UndrainBackend) -> Outcome:
        return self._carry_out(self._control.UndrainBackend, wire_control.pack_undrain_backend(request))

    def remove_backend(self, request: RemoveBackend) -> Outcome:
        return self._carry_out(self._control.RemoveBackend, wire_control.pack_remove_backend(request))

    def _carry_out(self, call: _Call[Sent, control_pb2.ControlResponse], request: Sent) -> Outcome:
        return wire_control.unpack_outcome(self._call(call, request))

    def _call(self, call: _Call[Sent, Received], request: Sent) -> Received:
        try:
            return call(request, timeout=self._deadline_s)
        except grpc.RpcError as error:
            raise self._translate(error) from None

    def _translate(self, error: grpc.RpcError) -> RpcError:
        code, details = error.code(), error.details() or ""
        reason, _, remedy = details.rpartition("\n")
        if code in REFUSALS:
            return RefusedError(reason or remedy, remedy if reason else "", invalid=code is _INVALID)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return UnreachableError(
                f"no answer from {self._address} within {self._deadline_s:g} s: "
                "is the node overloaded or stuck? journalctl -u lbnode"
            )
        if code is grpc.StatusCode.UNAVAILABLE and reason:
            return UnreachableError(f"{reason}; {remedy}" if remedy else reason)
        if code is grpc.StatusCode.UNAVAILABLE and "Permission denied" in details:
            return UnreachableError(
                f"not allowed to open {self._address}: use sudo, or join the socket's group"
            )
        mismatch = _mismatch(details, self._tls is not None) if code is grpc.StatusCode.UNAVAILABLE else ""
        if mismatch:
            return UnreachableError(f"{self._address}: {mismatch}")
        if code is grpc.StatusCode.UNAVAILABLE:
            elsewhere = (
                "; if it is another machine: --node ADDRESS" if self._address == DEFAULT_ADDRESS else ""
            )
            return UnreachableError(
                f"no lbnode answers at {self._address}: is it running? systemctl status lbnode{elsewhere}"
            )
        return RefusedError(
            f"{self._address} failed to answer ({code.name.lower()}: {details})", "see: journalctl -u lbnode"
        )


def _open(address: str, tls: TlsMaterial | None) -> grpc.Channel:
    options = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    return grpc.secure_channel(address, credentials, options=options)


def _mismatch(details: str, is_tls: bool) -> str:
    """Say what gRPC's words for a failed handshake mean; empty if they are about something else."""
    if "certificate has expired" in details:
        return "the node's certificate has expired: renew it there: lbctl certs issue node NAME"
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return "the node's certificate is not signed by the authority in --ca: wrong file, or wrong node"
    if "Hostname Verification" in details or "is not verified" in details or "Peer name" in details:
        return (
            "the node's certificate is for other addresses: ask one of those (lbctl certs show), or make it anew "
            "with --address"
        )
    if "WRONG_VERSION_NUMBER" in details:
        return "no TLS is spoken there: leave out --cert, --key and --ca, or set rpc.tls at the node"
    if "Socket closed" in details or "handshake failed" in details:
        return (
            "the node did not take this certificate: is it of this fleet and its authority, and not expired?"
            if is_tls
            else "the node hung up: it may want TLS: give --cert, --key and --ca"
        )
    return ""


_INVALID = grpc.StatusCode.INVALID_ARGUMENT
