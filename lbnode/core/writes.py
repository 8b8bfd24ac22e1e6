"""What a leader can write: values, carried out by `lbnode.app.leadership`."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.model.epoch import Epoch
from lbnode.model.flows import FlowQuestion, HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, PoolName
from lbnode.model.members import BackendMember
from lbnode.model.view import IdLedger


@dataclass(frozen=True, slots=True)
class FoundFleet:
    """Write the fleet's identity: its UUID and its first secret."""


@dataclass(frozen=True, slots=True)
class PutIds:
    ledger: IdLedger


@dataclass(frozen=True, slots=True)
class PutBackend:
    member: BackendMember


@dataclass(frozen=True, slots=True)
class RemoveBackend:
    name: BackendName


@dataclass(frozen=True, slots=True)
class ForgetAgent:
    """End the registration of an agent whose machine is gone."""

    name: BackendName


@dataclass(frozen=True, slots=True)
class OfferEpoch:
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class RestoreEpoch:
    """Put an epoch in the place of a record that cannot be read."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class MakeCurrent:
    pool: PoolName
    number: EpochNumber
    laggards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetEpoch:
    pool: PoolName
    number: EpochNumber


@dataclass(frozen=True, slots=True)
class RetirePool:
    pool: PoolName


@dataclass(frozen=True, slots=True)
class AskForFlows:
    question: FlowQuestion


@dataclass(frozen=True, slots=True)
class PutHeld:
    held: HeldChanges


Write = (
    FoundFleet
    | PutIds
    | PutBackend
    | RemoveBackend
    | ForgetAgent
    | OfferEpoch
    | RestoreEpoch
    | MakeCurrent
    | ForgetEpoch
    | RetirePool
    | AskForFlows
    | PutHeld
)
