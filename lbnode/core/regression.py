"""Whether a store is older than what was seen of it: restored from a backup that lacks what happened since.

Decides only that; what is done about it (nothing is believed, nothing is written) is the daemon's.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.model.view import FleetView

REMEDY = (
    "was it restored from an old backup? Bring back newer data, or let every daemon forget what it knows by deleting "
    "the copy in its state directory"
)


def regression(known: FleetView, found: FleetView) -> str:
    """Return why `found` cannot follow `known` in time, with the remedy; an empty string if it can."""
    reason = next(_reasons(known, found), "")
    return f"{reason}: {REMEDY}" if reason else ""


def _reasons(known: FleetView, found: FleetView) -> Iterator[str]:
    if found.desired_version < known.desired_version:
        yield f"the desired fleet has version {found.desired_version}, and version {known.desired_version} was seen"
    if found.intents_version < known.intents_version:
        yield f"the operators' intents have version {found.intents_version}, and {known.intents_version} was seen"
    for pool in sorted(set(known.current) & set(found.epochs)):
        before, after = known.current_epoch(pool), found.newest(pool)
        if before is not None and after is not None and after.created_at < before.created_at:
            yield f"epoch {after.number} of pool {pool} is older than epoch {before.number}, which was in use"
