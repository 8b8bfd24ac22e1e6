"""What the gRPC server needs of a node: implemented by the node's composition root."""

from __future__ import annotations

from typing import Protocol

from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.requests import (
    AddBackend,
    DrainBackend,
    DrainNode,
    Outcome,
    Refusal,
    RemoveBackend,
    RemoveNode,
    UndrainBackend,
    UndrainNode,
)
from lbnode.model.status import FleetStatus

Verb = DrainNode | UndrainNode | RemoveNode | AddBackend | DrainBackend | UndrainBackend | RemoveBackend


class ClusterPort(Protocol):
    """A node's door for operators. Refusals are answers, not exceptions; an exception is a bug (INTERNAL)."""

    async def status(self) -> FleetStatus:
        """Return the fleet as this node sees it now."""

    async def explain(self, question: FlowQuestion) -> Explanation | Refusal:
        """Return what becomes of a flow."""

    async def apply(self, fleet_yaml: str, *, dry_run: bool, based_on: int | None) -> Outcome | Refusal:
        """Read and check `fleet_yaml`, then make the fleet that; `based_on` as in `requests.Apply`."""

    async def export(self) -> str | Refusal:
        """Return the desired fleet as the text of a fleet.yaml."""

    async def control(self, request: Verb) -> Outcome | Refusal:
        """Carry out one verb."""
