"""Which places of a map are free: extents, handed out lowest first, reused only after a grace period. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator


class Arena:
    """Places `start`..`end` - 1 as extents of any size, whose starts are multiples of `alignment`.

    With `row`, no extent lies in two rows of that many places.

    A retired extent may still be read by packets under way, until a grace period has passed: `reclaim`. A released one
    is free at once.
    """

    def __init__(self, start: int, end: int, alignment: int = 1, row: int = 0) -> None:
        self._alignment = alignment
        self._row = row
        self._free = self._merged([(self._aligned(start), end)] if end > start else [])
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
        for index, (start, end) in enumerate(self._free):
            if end - start >= places:
                self._take(index, start, start + places)
                return start
        return None

    def claim(self, base: int, places: int) -> bool:
        """Mark the extent at `base` as used, as found in the kernel; False when it is not free."""
        wanted = base + self._aligned(places)
        for index, (start, end) in enumerate(self._free):
            if start <= base and wanted <= end:
                self._take(index, base, wanted)
                return True
        return False

    def _take(self, index: int, start: int, end: int) -> None:
        free_start, free_end = self._free[index]
        pieces = ((free_start, start), (end, free_end))
        self._free[index : index + 1] = [piece for piece in pieces if piece[0] < piece[1]]
        self._used[start] = end

    def release(self, *bases: int) -> None:
        """Give back extents that no packet can have seen: they are free at once."""
        freed = [(base, self._used.pop(base)) for base in bases]
        self._free = self._merged([*self._free, *freed])

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

    def _merged(self, extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the extents in order, neighbours joined, cut at the rows' ends."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(extents):
            if merged and merged[-1][1] == start and not self._starts_row(start):
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
        return [piece for extent in merged for piece in self._cut(*extent)]

    def _starts_row(self, place: int) -> bool:
        return self._row > 0 and place % self._row == 0

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        while self._row and start // self._row < (end - 1) // self._row:
            border = (start // self._row + 1) * self._row
            yield start, border
            start = border
        yield start, end


def claimed(arena: Arena, extents: Iterable[tuple[int, int]]) -> bool:
    """Claim every (base, places); False when two of them overlap or one lies outside."""
    return all(arena.claim(base, places) for base, places in extents)
