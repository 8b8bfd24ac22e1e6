"""What the gRPC server needs of a node: implemented by the node's composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lbnode.model.access import Identity
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.forecast import Forecast
from lbnode.model.requests import Outcome, Refusal, Verb
from lbnode.model.status import FleetStatus
from lbnode.model.traffic import Traffic

__all__ = ["ClusterPort", "TlsMaterial", "TlsPort", "Verb"]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What one side of a TLS connection has: certificate chain, key and believed authorities, all PEM."""

    certificate: bytes
    key: bytes
    ca: bytes


class TlsPort(Protocol):
    """Where a server gets its material: asked for every handshake, so that renewed files need no restart."""

    @property
    def fleet(self) -> str:
        """Whose operators, readers and nodes are served: bearers of another fleet's certificates are refused."""

    def current(self) -> TlsMaterial:
        """Return what to use from now on; in any thread, and never raises."""

    def is_revoked(self, certificate: bytes, bearer: Identity) -> bool:
        """Whether this PEM certificate of `bearer`, signed and not expired, counts no more; asked every request."""


class ClusterPort(Protocol):
    """A node's door for operators. Refusals are answers, not exceptions; an exception is a bug (INTERNAL)."""

    async def status(self) -> FleetStatus:
        """Return the fleet as this node sees it now."""

    async def traffic(self) -> Traffic:
        """Return what this node's kernel has counted."""

    async def explain(self, question: FlowQuestion) -> Explanation | Refusal:
        """Return what becomes of a flow."""

    async def apply(
        self, fleet_yaml: str, *, dry_run: bool, based_on: int | None, force: bool
    ) -> Outcome | Refusal:
        """Read and check `fleet_yaml`, then make the fleet that; `based_on` and `force` as in `requests.Apply`."""

    async def plan(self, fleet_yaml: str) -> Forecast | Refusal:
        """Read and check `fleet_yaml`, and return what applying it would do to the flows."""

    async def export(self) -> str | Refusal:
        """Return the desired fleet as the text of a fleet.yaml."""

    async def control(self, request: Verb) -> Outcome | Refusal:
        """Carry out one verb."""
