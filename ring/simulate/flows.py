"""Flows: born at the owner of a random bucket, alive for a random number of steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ring.simulate.lists import DEPTH, Lists


class Population:
    """All flows alive, as columns, and a tally of how deep the lists had to be for those that have ended.

    Starts as it would be found after a long time without changes.
    """

    def __init__(self, births: int, life: float, lists: Lists, seed: int) -> None:
        self._chance = np.random.default_rng((seed, 1))
        self._births, self._life = births, life
        self._buckets = np.zeros(0, dtype=np.int64)
        self._backends = np.zeros(0, dtype=np.uint16)
        self._left = np.zeros(0, dtype=np.int32)
        self._deepest = np.zeros(0, dtype=np.uint8)
        self._tally = np.zeros(DEPTH + 2, dtype=np.int64)
        self._add(round(births * life), lists)

    def look_up(self, lists: Lists) -> None:
        """Let every flow alive send a packet: note how deep in its bucket's list its backend stands."""
        np.maximum(self._deepest, lists.places(self._buckets, self._backends), out=self._deepest)

    def outside(self, lists: Lists, alternates: int) -> int:
        """Return how many flows would lose their backend if `lists` with so many alternates were in use."""
        return int(np.count_nonzero(lists.places(self._buckets, self._backends) > alternates))

    def pass_step(self, lists: Lists) -> None:
        """Let a step pass: some flows are born at the owners, some end."""
        self._add(int(self._chance.poisson(self._births)), lists)
        self._left -= 1
        self._tally += _depths(self._deepest[self._left < 0])
        alive = self._left >= 0
        self._buckets, self._backends = self._buckets[alive], self._backends[alive]
        self._left, self._deepest = self._left[alive], self._deepest[alive]

    def depths(self) -> NDArray[np.int64]:
        """Return how many flows, ended or alive, needed a list of 0, 1, … `DEPTH` alternates, or of more."""
        return self._tally + _depths(self._deepest)

    def _add(self, count: int, lists: Lists) -> None:
        buckets = self._chance.integers(0, lists.ranks.shape[1], count)
        left = self._chance.exponential(self._life, count).astype(np.int32)
        self._buckets = np.concatenate((self._buckets, buckets))
        self._backends = np.concatenate((self._backends, lists.owners[buckets]))
        self._left = np.concatenate((self._left, left))
        self._deepest = np.concatenate((self._deepest, np.zeros(count, dtype=np.uint8)))


def _depths(places: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(places, minlength=DEPTH + 2).astype(np.int64)
