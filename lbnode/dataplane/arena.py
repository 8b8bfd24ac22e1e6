"""Which places of a map are free: extents, handed out lowest first, reused only after a grace period. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise


class Arena:
    """Places `start`..`end` - 1 as extents of any size, whose starts are multiples of `alignment`.

    With `row`, no extent lies in two rows of that many places unless it is larger than one.

    A retired extent may still be read by packets under way, until a grace period has passed: `reclaim`. A released one
    is free at once.
    """

    def __init__(self, start: int, end: int, alignment: int = 1, row: int = 0) -> None:
        self._alignment = alignment
        self._row = row
        self._free = self._cut([(self._aligned(start), end)] if end > start else [])
        self._used: dict[int, int] = {}
        self._retired: deque[tuple[int, int]] = deque()

    def _aligned(self, places: int) -> int:
        return -(-places // self._alignment) * self._alignment

    @property
    def used(self) -> int:
        """Places that are handed out or retired."""
        return sum(end - start for start, end in self._used.items())

    @property
    def has_retired(self) -> bool:
        """True when waiting for a grace period would free something."""
        return bool(self._retired)

    def allocate(self, places: int) -> int | None:
        """Return the start of a free extent of `places`, or None when there is none."""
        places = self._aligned(places)
        free = _joined(self._free) if self._row and places > self._row else self._free
        start = next((start for start, end in free if end - start >= places), None)
        if start is not None:
            self._take(start, start + places)
        return start

    def claim(self, base: int, places: int) -> bool:
        """Mark the extent at `base` as used, as found in the kernel; False when it is not free."""
        wanted = base + self._aligned(places)
        is_free = any(start <= base and wanted <= end for start, end in _joined(self._free))
        if is_free:
            self._take(base, wanted)
        return is_free

    def _take(self, start: int, end: int) -> None:
        left = [
            piece
            for first, last in self._free
            for piece in ((first, min(last, start)), (max(first, end), last))
        ]
        self._free = [(first, last) for first, last in left if first < last]
        self._used[start] = end

    def release(self, *bases: int) -> None:
        """Give back extents that no packet can have seen: they are free at once."""
        freed = [(base, self._used.pop(base)) for base in bases]
        self._free = self._cut(_joined([*self._free, *freed]))

    def retire(self, base: int, number: int) -> None:
        """Give back an extent that packets may still read. `number`: the grace period's, never less than before."""
        self._retired.append((base, number))

    def reclaim(self, passed: int) -> None:
        """Free what was retired with the number `passed` or a lower one."""
        due = []
        while self._retired and self._retired[0][1] <= passed:
            due.append(self._retired.popleft()[0])
        if due:
            self.release(*due)

    def _cut(self, extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the extents, none of them in two rows."""
        pieces: list[tuple[int, int]] = []
        for start, end in extents:
            borders = range((start // self._row + 1) * self._row, end, self._row) if self._row else ()
            pieces += pairwise((start, *borders, end))
        return pieces


def _joined(extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the extents in order, neighbours as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(extents):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def claimed(arena: Arena, extents: Iterable[tuple[int, int]]) -> bool:
    """Claim every (base, places); False when two of them overlap or one lies outside."""
    return all(arena.claim(base, places) for base, places in extents)
