"""Looking and checking joined: what cannot be looked at becomes a finding of its own, never an end."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lbnode.daemon.errors import DaemonError
from lbnode.dataplane.errors import DataPlaneError, RightsError
from lbnode.doctor.findings import Examination, Finding, Grade
from lbnode.netdev.errors import NetdevError
from lbnode.store.tree import StoreError

F = TypeVar("F")

TROUBLE = (DaemonError, DataPlaneError, NetdevError, StoreError, OSError)


async def examine(
    matter: str, look: Callable[[], F | Awaitable[F]], check: Callable[[F], Examination]
) -> Examination:
    """Return what `check` says of what `look` finds, or why it could not look."""
    try:
        found = look()
        return check(await found if inspect.isawaitable(found) else found)
    except TROUBLE as error:
        return _unseen(matter, error)


def _unseen(matter: str, error: Exception) -> Examination:
    forbidden = isinstance(error, PermissionError | RightsError) or "CAP_" in str(error)
    mend = "sudo lbctl doctor" if forbidden else ""
    why = "what is wrong here, if anything, stays unknown"
    return Examination(matter, "", (Finding(Grade.UNCHECKED, matter, str(error), why, mend),))
