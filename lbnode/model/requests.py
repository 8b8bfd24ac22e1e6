"""What operators ask of a fleet, and the answers: the words of the Control service and of `lbctl`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lbnode.model.fleet import DesiredFleet
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.tunnel import Addresses


@dataclass(frozen=True, slots=True)
class Apply:
    """Make the fleet what `desired` says.

    `dry_run` answers with the differences and writes nothing. `based_on` is the version of the desired fleet
    that the operator was shown differences to; refused if another one has been written since. `force`: what
    follows is not held, although flows may break.
    """

    desired: DesiredFleet
    dry_run: bool = False
    based_on: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class DrainNode:
    """Take a node out of the routers' ECMP in good order; it stays a member."""

    node: NodeName
    force: bool = False


@dataclass(frozen=True, slots=True)
class UndrainNode:
    """Let a drained node announce again."""

    node: NodeName


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """End a membership: backends stop taking GRE from the node. Refused while connected, unless forced."""

    node: NodeName
    force: bool = False


@dataclass(frozen=True, slots=True)
class AddBackend:
    """Put a backend into a pool. `addresses` are empty for a backend that the fleet already has.

    `agent`: see `lbnode.model.fleet.Backend`; it says nothing of a backend that the fleet already has.
    """

    name: BackendName
    pool: PoolName
    addresses: Addresses = ()
    weight: int = 1
    force: bool = False
    agent: bool = True


@dataclass(frozen=True, slots=True)
class WeighBackend:
    """Give a backend another weight beside the others, in `pool` or in all its pools."""

    name: BackendName
    weight: int
    pool: PoolName | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceBackend:
    """Let `by` take over the slot of `name`, in `pool` or in all its pools.

    `addresses` are empty for a backend that the fleet already has. `name` leaves the fleet when no pool has it any
    more. `agent` is about `by`, as in `AddBackend`.
    """

    name: BackendName
    by: BackendName
    addresses: Addresses = ()
    pool: PoolName | None = None
    force: bool = False
    agent: bool = True


@dataclass(frozen=True, slots=True)
class DrainBackend:
    """Give a backend no new flows, in `pool` or in all its pools; it keeps the flows that it has.

    `force`: even if it is the last active one, and although other flows may break.
    """

    name: BackendName
    pool: PoolName | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class UndrainBackend:
    """Give a drained backend new flows again, in `pool` or in all its pools."""

    name: BackendName
    pool: PoolName | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RemoveBackend:
    """Take a backend out of `pool`, or of all its pools and the fleet.

    Refused, unless forced, while it is not drained or still holds flows.
    """

    name: BackendName
    pool: PoolName | None = None
    force: bool = False


BackendVerb = AddBackend | WeighBackend | ReplaceBackend | DrainBackend | UndrainBackend | RemoveBackend
NodeVerb = DrainNode | UndrainNode | RemoveNode
Verb = NodeVerb | BackendVerb
Request = Apply | Verb


class Change(Enum):
    """The three ways in which a thing can differ; the value is its sign on the screen."""

    ADDED = "+"
    REMOVED = "-"
    CHANGED = "~"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changes: `~ pool web: backend b2: weight 1 → 3`."""

    change: Change
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.change.value} {self.subject}" + (f": {self.detail}" if self.detail else "")


class RefusalKind(Enum):
    """Why a request is not carried out; adapters map it to their own codes."""

    INVALID = "invalid"
    """The request itself can never be granted."""
    UNKNOWN = "unknown"
    """It names something that the fleet does not have."""
    STATE = "state"
    """Not in the fleet's present state."""
    CONFLICT = "conflict"
    """Somebody else changed the fleet meanwhile."""
    UNAVAILABLE = "unavailable"
    """The fleet's memory is out of reach."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that changed nothing: why, and what the operator can do about it."""

    kind: RefusalKind
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """A request that was carried out, or would be (`applied` is False after a dry run).

    `version` is that of the desired fleet that `differences` speak of: pass it as `Apply.based_on`.
    `warnings` tell what the operator should know beforehand.
    """

    applied: bool
    version: int
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
