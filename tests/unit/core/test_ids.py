from __future__ import annotations

import pytest

from lbnode.core.ids import MAX_ID, REUSE_AFTER_S, LedgerFullError, allot
from lbnode.model.view import IdLedger


def test_ids_count_up_from_one() -> None:
    ledger, first = allot(IdLedger(), 0.0, ())
    _, second = allot(ledger, 0.0, {first})
    assert (first, second) == (1, 2)


def test_an_id_that_somebody_names_is_passed_over() -> None:
    assert allot(IdLedger(), 0.0, {1, 2})[1] == 3


def test_a_released_id_returns_after_a_day_and_not_before() -> None:
    ledger = IdLedger(next_id=MAX_ID + 1, released_at={7: 100.0, 9: 50.0})
    with pytest.raises(LedgerFullError, match="no backend id is free"):
        allot(ledger, 50.0 + REUSE_AFTER_S - 1, ())
    after, number = allot(ledger, 50.0 + REUSE_AFTER_S, ())
    assert number == 9
    assert 9 not in after.released_at


def test_a_released_id_that_an_epoch_still_names_is_not_given_away() -> None:
    ledger = IdLedger(next_id=MAX_ID + 1, released_at={7: 0.0})
    with pytest.raises(LedgerFullError):
        allot(ledger, 2 * REUSE_AFTER_S, {7})
