"""What the data plane is told of a pool beside its buckets."""

from __future__ import annotations

from dataclasses import replace

from lbnode.core.history import build_table
from lbnode.daemon.pool_table import pool_table
from lbnode.model.epoch import BackendState, EpochSlot, FormerOccupant
from lbnode.model.fleet import QuicIds
from lbnode.model.ids import BackendId, EpochNumber, SlotNumber
from lbnode.model.members import FleetIdentity
from tests.unit.backend.fleets import FLEET, ID1, epoch

IDENTITY = FleetIdentity(FLEET, "demo", {1: "11" * 32})

ACTIVE, DRAINING, FAILED = BackendState.ACTIVE, BackendState.DRAINING, BackendState.FAILED


def seat(number: int, backend: int, state: BackendState, answers: bool = False) -> EpochSlot:
    return EpochSlot(SlotNumber(number), 1, BackendId(backend), state, agent=True, answers=answers)


def test_connection_ids_may_name_whoever_may_still_hold_connections() -> None:
    slots = (seat(0, 1, ACTIVE), seat(1, 2, DRAINING), seat(2, 3, FAILED), seat(3, 4, FAILED, answers=True))
    left = FormerOccupant(SlotNumber(1), BackendId(5), ACTIVE, EpochNumber(1), agent=True)
    lost = FormerOccupant(SlotNumber(1), BackendId(6), FAILED, EpochNumber(1), agent=True)
    each = replace(epoch(1, ID1), slots=slots, former=(left, lost))
    told = pool_table(each, build_table(each), IDENTITY, quic=QuicIds(3))
    assert told.quic is not None
    assert told.quic.config_id == 3
    assert told.quic.members == {1, 2, 4, 5}


def test_without_the_pools_word_connection_ids_name_nobody() -> None:
    each = epoch(1, ID1)
    assert pool_table(each, build_table(each), IDENTITY).quic is None
