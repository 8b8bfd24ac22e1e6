"""Step 4: the alternates, at most two earlier owners of a bucket that may still hold some of its flows.

They are the last two that differ as backends, latest first, never the owner of today and never one that
cannot answer any more. Those that only answer (failed, the agent still there) fill the places that nobody else
wants. A backend without an agent cannot pass a packet on, so it stands last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ring.engine import engine
from ring.errors import RingError
from ring.slots import MAX_BACKEND

Owners = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who may be an alternate, by backend id, and in which place.

    `preferred` may be asked for their flows (None: all but those of last resort). `last_resort` only fill places
    that no preferred one takes. `keyless` cannot pass packets on and stand behind those that can; this alone
    makes nobody an alternate.
    """

    preferred: Collection[int] | None = None
    last_resort: Collection[int] = ()
    keyless: Collection[int] = ()


EVERYBODY = Standing()


def recall(
    owners: Owners, earlier: Iterable[Owners], standing: Standing = EVERYBODY
) -> tuple[Owners, Owners]:
    """Return (first, second), a backend id a bucket or 0, from the owners of earlier epochs, *latest first*.

    Backends that `standing` does not let in neither appear nor take up a place. Raises RingError for an
    impossible backend id in it.
    """
    first, second = np.zeros_like(owners), np.zeros_like(owners)
    past = list(earlier)
    for admitted in _rounds(standing):
        for epoch in past:
            engine().remember(owners, epoch, admitted, first, second)
    return _keyless_last(first, second, standing.keyless)


def _rounds(standing: Standing) -> list[NDArray[np.uint8]]:
    """One flag a backend id for each round of filling places: first the preferred, then the last resort."""
    resort = flags_of("last resort", standing.last_resort)
    preferred = flags_of("allowed alternates", standing.preferred)
    preferred[resort != 0] = 0
    return [preferred, resort] if standing.last_resort else [preferred]


def _keyless_last(first: Owners, second: Owners, keyless: Collection[int]) -> tuple[Owners, Owners]:
    if not keyless:
        return first, second
    ends = flags_of("backends without agent", keyless)
    passes_on = (second != 0) & (ends[second] == 0)
    swapped = (ends[first] != 0) & passes_on
    return np.where(swapped, second, first), np.where(swapped, first, second)


def flags_of(what: str, backends: Collection[int] | None) -> NDArray[np.uint8]:
    """Return one flag a backend id, set for `backends` (None: all); that of 0, "none", is never set.

    Raises RingError, which says `what` the ids are, for one that no backend can have.
    """
    flags = np.full(MAX_BACKEND + 1, backends is None, dtype=np.uint8)
    for backend in backends or ():
        if not 0 <= backend <= MAX_BACKEND:
            raise RingError(f"{what}: backend id {backend} must be 1..{MAX_BACKEND}")
        flags[backend] = 1
    flags[0] = 0
    return flags
