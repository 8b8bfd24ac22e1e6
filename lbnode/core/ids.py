"""Backend ids: 1..65535, allotted by the leader, not reused within 24 hours nor while anybody names them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from lbnode.model.ids import BackendId
from lbnode.model.view import IdLedger

MAX_ID = 65535
REUSE_AFTER_S = 24 * 3600.0


class LedgerFullError(Exception):
    """All 65535 ids are in use or were released less than 24 hours ago."""


def allot(ledger: IdLedger, wall: float, used: Collection[int]) -> tuple[IdLedger, BackendId]:
    """Return the ledger after giving away an id, and the id: a fresh one first, else the longest released one."""
    number = ledger.next_id
    while number <= MAX_ID and number in used:
        number += 1
    if number <= MAX_ID:
        return replace(ledger, next_id=number + 1), BackendId(number)
    for number, released_at in sorted(ledger.released_at.items(), key=lambda item: item[1]):
        if wall - released_at >= REUSE_AFTER_S and number not in used:
            rest = {id_: at for id_, at in ledger.released_at.items() if id_ != number}
            return replace(ledger, released_at=rest), BackendId(number)
    raise LedgerFullError("no backend id is free: 65535 are in use or were released in the last 24 hours")
