"""A node's gRPC server: Status, Control, and the standard health and reflection services.

With TLS, mutual always, it listens wherever it is told to; without on unix sockets and loopback only
(`lbnode.rpc.listen`). Unix sockets are protected by their permissions and never use TLS. Health says SERVING while the
node is ready, for the whole server ("") and for each service: orchestrators and grpcurl work unmodified.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lbnode.api.v1 import control_pb2_grpc, status_pb2_grpc
from lbnode.rpc.errors import ListenError
from lbnode.rpc.guard import CONTROL, STATUS, Guard
from lbnode.rpc.listen import UNIX, check_listen_address
from lbnode.rpc.port import ClusterPort, TlsMaterial, TlsPort
from lbnode.rpc.services import ControlService, StatusService

SOCKET_MODE = 0o660
OPTIONS = [("grpc.so_reuseport", 0)]
"""Two servers on one port must be an error, not a lottery."""


class RpcServer:
    """Serves one node's `ClusterPort` on every address given; use `start` and `stop` once each.

    `tls` makes every TCP address one for mutual TLS; bearers of the fleet's certificates may do what their role
    allows. `insecure` is the operator's word that addresses beyond loopback may do without.
    """

    def __init__(
        self,
        cluster: ClusterPort,
        addresses: Sequence[str],
        tls: TlsPort | None = None,
        insecure: bool = False,
    ) -> None:
        self._cluster = cluster
        self._tls, self._insecure = tls, insecure
        self._wanted = tuple(addresses)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._is_ready: bool | None = None
        self.addresses: tuple[str, ...] = ()
        """Where the started server listens; a port 0 that was asked for is the real one here."""

    async def start(self) -> None:
        """Listen and serve, not ready yet. Raises ListenError, naming the address, when one cannot be had."""
        protected = self._tls is not None or self._insecure
        checked = [check_listen_address(address, protected) for address in self._wanted]
        guard = [] if self._tls is None else [Guard(self._tls)]
        server = grpc.aio.server(options=OPTIONS, interceptors=guard)
        credentials = None if self._tls is None else _credentials(self._tls)
        try:
            self.addresses = tuple(_bind(server, address, credentials) for address in checked)
        except ListenError:
            await _give_back(server)
            raise
        self._add_services(server)
        await self.set_ready(False)
        await server.start()
        self._server = server

    async def set_ready(self, ready: bool) -> None:
        """Tell health checkers whether the node serves: tables loaded and the fleet known."""
        if ready is self._is_ready:
            return
        self._is_ready = ready
        serving = health_pb2.HealthCheckResponse
        status = serving.SERVING if ready else serving.NOT_SERVING
        for service in ("", STATUS, CONTROL):
            await self._health.set(service, status)

    async def stop(self, grace_s: float = 1.0) -> None:
        """Stop listening at once; requests under way get `grace_s` seconds to end."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        self._server = None
        await asyncio.to_thread(_remove_sockets, self.addresses)

    def _add_services(self, server: grpc.aio.Server) -> None:
        status_pb2_grpc.add_StatusServicer_to_server(StatusService(self._cluster), server)
        control_pb2_grpc.add_ControlServicer_to_server(ControlService(self._cluster), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (STATUS, CONTROL, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)


def _credentials(tls: TlsPort) -> grpc.ServerCredentials:
    """Mutual TLS: gRPC asks for the newest material at every handshake, in a thread of its own."""
    used = tls.current()

    def renew() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        newest = tls.current()
        if newest == used:
            return None
        used = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        renew,  # type: ignore[arg-type]  # None is "as before", which the stubs do not know
        require_client_authentication=True,
    )


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.certificate)], material.ca)


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Add `address` to the server and return it with the port that it really got."""
    try:
        if credentials is None or address.startswith(UNIX):
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ListenError(
            f"listen on {address}: in use by another process, or not allowed; "
            f"see who has it with: ss -lntp, or listen elsewhere"
        ) from error
    if address.startswith(UNIX):
        os.chmod(address.removeprefix(UNIX), SOCKET_MODE)
        return address
    return f"{address.rpartition(':')[0]}:{port}"


async def _give_back(server: grpc.aio.Server) -> None:
    """Free the addresses of a server that never served: gRPC keeps them until it is started and stopped."""
    await server.start()
    await server.stop(None)


def _remove_sockets(addresses: Sequence[str]) -> None:
    for address in addresses:
        if address.startswith(UNIX):
            Path(address.removeprefix(UNIX)).unlink(missing_ok=True)
