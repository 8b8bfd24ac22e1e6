"""The answer of `lbnode.core.control`: what to write, under which versions, and what to tell the operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lbnode.core.rules import did_you_mean
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.ids import BackendName, NodeName
from lbnode.model.requests import Difference, Outcome, Refusal, RefusalKind


@dataclass(frozen=True, slots=True)
class Plan:
    """A granted request. None, or an empty plan, means "leave the record as it is".

    Write `desired` over version `desired_version`, then `intents` over `intents_version`, then delete the
    membership of `removed_node` and the registration of `removed_agent`. When a version has moved on, stop there and
    decide the request anew.
    """

    desired_version: int
    intents_version: int
    desired: DesiredFleet | None = None
    intents: Intents | None = None
    removed_node: NodeName | None = None
    removed_agent: BackendName | None = None
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()

    def outcome(self, *, applied: bool) -> Outcome:
        """Return what the operator is told once the plan is carried out, or was only asked for."""
        return Outcome(applied, self.desired_version, self.differences, self.warnings)


Decision = Plan | Refusal


def refuse_unknown(kind: str, name: str, known: Iterable[str]) -> Refusal:
    """Return the refusal of a request that names something that the fleet does not have."""
    return Refusal(RefusalKind.UNKNOWN, f"no {kind} is called {name!r}", did_you_mean(name, known))
