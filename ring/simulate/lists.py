"""Every bucket's list: its owner and all its earlier owners, latest first, as deep as anybody may ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTH = 12
"""Earlier owners kept a bucket; one that is further back counts as forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """`ranks[0]` has one owner (backend id) a bucket, `ranks[k]` its k-th alternate, 0 for none."""

    ranks: NDArray[np.uint16]

    def __post_init__(self) -> None:
        self.ranks.setflags(write=False)

    @property
    def owners(self) -> NDArray[np.uint16]:
        owners: NDArray[np.uint16] = self.ranks[0]
        return owners

    def after(self, owners: NDArray[np.uint16]) -> Lists:
        """Return the lists when `owners` own: each moves to the front of its bucket's list."""
        moved = np.flatnonzero(owners != self.owners)
        columns = self.ranks[:, moved]
        carried, open_ = owners[moved], np.ones(len(moved), dtype=np.bool_)
        for rank in columns:
            kept = rank.copy()
            rank[open_] = carried[open_]
            open_ &= kept != owners[moved]
            carried = kept
        ranks = self.ranks.copy()
        ranks[:, moved] = columns
        return Lists(ranks)

    def places(self, buckets: NDArray[np.int64], backends: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Return where each backend stands in its bucket's list: 0 the owner, k the k-th alternate."""
        places = np.full(len(buckets), len(self.ranks), dtype=np.uint8)
        sought = np.arange(len(buckets))
        for place, rank in enumerate(self.ranks):
            found = rank[buckets[sought]] == backends[sought]
            places[sought[found]] = place
            sought = sought[~found]
        return places


def first_lists(owners: NDArray[np.uint16]) -> Lists:
    """Return the lists of a pool without history."""
    ranks = np.zeros((DEPTH + 1, len(owners)), dtype=np.uint16)
    ranks[0] = owners
    return Lists(ranks)
