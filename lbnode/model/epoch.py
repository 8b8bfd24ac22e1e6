"""The epoch: a numbered, immutable record of one pool. All tables derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from lbnode.model.fleet import HashAlgorithm, HashMode
from lbnode.model.ids import BackendId, EpochNumber, PoolName, SlotNumber
from lbnode.model.tunnel import TunnelFamily

ALGORITHM = 1
"""The version of home, failover and alternates (`ring`) that this release builds tables with."""

REBUILT = 1001
"""Plain Maglev, rebuilt from the active backends each time: for comparison in drills, not for fleets."""

KNOWN_ALGORITHMS = frozenset({ALGORITHM, REBUILT})


class BackendState(Enum):
    """A backend's state in one pool."""

    ACTIVE = "active"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EpochSlot:
    """A numbered, weighted place in the pool and who sits in it; an empty slot has no backend.

    `agent`: the occupant can give a second chance. `answers`: of a failed one, its agent is still connected, so
    its own stack can end its flows; it stays among the alternates.
    """

    number: SlotNumber
    weight: int
    backend: BackendId | None
    state: BackendState
    agent: bool = False
    answers: bool = False


@dataclass(frozen=True, slots=True)
class FormerOccupant:
    """A backend that left `slot` in epoch `left_in` and may still hold flows; `agent` and `answers` as of a slot."""

    slot: SlotNumber
    backend: BackendId
    state: BackendState
    left_in: EpochNumber
    agent: bool = False
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """Everything that a table is a function of, and the digest that the table must have.

    `window_from` is the oldest epoch whose owners count as alternates: `window_from == number` means "no history".
    `created_at` is the leader's wall clock in seconds: it closes windows, and tables do not depend on it. Nor do they
    on `tunnel`, the family of the outer header: it is here so that all nodes change it together.
    `digest` is that of `ring.table.Table.digest()`: owners and alternates.
    """

    fleet: UUID
    pool: PoolName
    number: EpochNumber
    algorithm: int
    table_size: int
    seed: int
    hash_mode: HashMode
    hash_algorithm: HashAlgorithm
    key_id: int
    slots: tuple[EpochSlot, ...]
    former: tuple[FormerOccupant, ...]
    window_from: EpochNumber
    digest: str
    created_at: float = 0.0
    tunnel: TunnelFamily = TunnelFamily.IPV4

    @property
    def named(self) -> frozenset[BackendId]:
        """Everybody whom it names: in a slot, whatever the state, or as former occupant."""
        seated = {slot.backend for slot in self.slots if slot.backend is not None}
        return frozenset(seated | {former.backend for former in self.former})

    @property
    def stamp(self) -> int:
        """What packets carry that go by this epoch's own table."""
        return stamp_of(self.number)


def stamp_of(number: EpochNumber, local: bool = False) -> int:
    """Return what the outer header says of the table that a packet went by (design.md §4, docs/adr/0010).

    The low 15 bits of the epoch's number; the 16th: its sender put verdicts of its own on top (`local`).
    """
    return number & 0x7FFF | (0x8000 if local else 0)
