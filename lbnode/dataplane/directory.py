"""The collision-free directory of VIPs: hash and displace (Belazzougui, Botelho, Dietzfelbinger, 2009). Pure.

A multiply-add hash of address and key chooses a group by some of its bits and a place by others; each group has a
displacement that is added to the place. Groups are placed largest first, each with the smallest displacement that
brings all its keys to free places; a group of one fits anywhere, so places may be as few as keys.
`lbnode/bpf/vip.h` looks up with the same arithmetic.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from lbnode.dataplane.errors import CapacityError

_MASK = (1 << 64) - 1
_GROUP_SHIFT = 48
_PLACE_SHIFT = 32
_TRIES = 256

Words = tuple[int, int, int, int, int]
"""Four words of the address and the key, as in struct vip."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Where each key lies: `places[i]` is that of key i. The rest is what the look-up needs."""

    seed: tuple[int, ...]
    mask: int
    displacement: dict[int, int]
    places: tuple[int, ...]

    def find(self, key: Words) -> int:
        """Return the place where `key` would be."""
        group, place = _hash(self.seed, key, self.mask)
        return (place + self.displacement.get(group, 0)) & self.mask


def build(keys: Sequence[Words], capacity: int) -> Directory:
    """Return a directory for distinct `keys` in at most `capacity` places (a power of two).

    Deterministic. Raises CapacityError when there are more keys than that.
    """
    if len(keys) > capacity:
        raise CapacityError(
            f"VIPs: {len(keys)} entries do not fit: the node's program holds {capacity}: "
            "raise VIP_PLACES in lbnode/bpf/layout.h and rebuild, or serve fewer VIPs"
        )
    mask = (1 << max(len(keys) - 1, 7).bit_length()) - 1
    for attempt in range(_TRIES):
        seed = _seed(attempt)
        displacement = _displace([_hash(seed, key, mask) for key in keys], mask)
        if displacement is not None:
            found = Directory(seed, mask, displacement, ())
            return Directory(seed, mask, displacement, tuple(found.find(key) for key in keys))
    raise CapacityError(f"VIPs: no collision-free directory of {len(keys)} entries in {_TRIES} tries")


def _seed(attempt: int) -> tuple[int, ...]:
    """Six odd multipliers. No secret: whoever chooses addresses can only make a comparison fail."""
    words = blake2b(attempt.to_bytes(2, "little"), digest_size=48).digest()
    return tuple(word | 1 for word in struct.unpack("<6Q", words))


def _hash(seed: tuple[int, ...], key: Words, mask: int) -> tuple[int, int]:
    """Return (group, place before displacement)."""
    value = (seed[0] + sum(factor * word for factor, word in zip(seed[1:], key, strict=True))) & _MASK
    return value >> _GROUP_SHIFT & mask, value >> _PLACE_SHIFT & mask


def _displace(hashes: list[tuple[int, int]], mask: int) -> dict[int, int] | None:
    """Return the displacement of each group, None when some group has two keys of the same place."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for group, place in hashes:
        groups[group].append(place)
    free = set(range(mask + 1))
    displacement: dict[int, int] = {}
    for group, places in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(set(places)) < len(places):
            return None
        step = min(free) - places[0] & mask if len(places) == 1 else _first_fit(places, free, mask)
        if step is None:
            return None
        displacement[group] = step
        free.difference_update([(place + step) & mask for place in places])
    return displacement


def _first_fit(places: list[int], free: set[int], mask: int) -> int | None:
    for step in range(mask + 1):
        if all((place + step) & mask in free for place in places):
            return step
    return None
