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

import numpy as np

from lbnode.dataplane.errors import CapacityError

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
    displacement: tuple[int, ...]
    """By group."""
    places: tuple[int, ...]

    def find(self, key: Words) -> int:
        """Return the place where `key` would be."""
        [(group, place)] = _hash(self.seed, [key], self.mask)
        return (place + self.displacement[group]) & self.mask


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
        hashes = _hash(seed, keys, mask)
        displacement = _displace(hashes, mask)
        if displacement is not None:
            places = tuple((place + displacement[group]) & mask for group, place in hashes)
            return Directory(seed, mask, displacement, places)
    raise CapacityError(f"VIPs: no collision-free directory of {len(keys)} entries in {_TRIES} tries")


def _seed(attempt: int) -> tuple[int, ...]:
    """Six odd multipliers. No secret: whoever chooses addresses can only make a comparison fail."""
    words = blake2b(attempt.to_bytes(2, "little"), digest_size=48).digest()
    return tuple(word | 1 for word in struct.unpack("<6Q", words))


def _hash(seed: tuple[int, ...], keys: Sequence[Words], mask: int) -> list[tuple[int, int]]:
    """Return each key's (group, place before displacement)."""
    factors = np.array(seed, dtype=np.uint64)
    words = np.array(keys, dtype=np.uint64).reshape(-1, len(factors) - 1)
    values = factors[0] + (words * factors[1:]).sum(axis=1, dtype=np.uint64)
    groups, places = (values >> np.uint64(shift) & np.uint64(mask) for shift in (_GROUP_SHIFT, _PLACE_SHIFT))
    return list(zip(groups.tolist(), places.tolist(), strict=True))


def _displace(hashes: list[tuple[int, int]], mask: int) -> tuple[int, ...] | None:
    """Return the displacement of each group, None when some group has two keys of the same place."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for group, place in hashes:
        groups[group].append(place)
    free = (1 << mask + 1) - 1
    displacement = [0] * (mask + 1)
    for group, places in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        step = _first_fit(places, free, mask + 1)
        if len(set(places)) < len(places) or step is None:
            return None
        displacement[group] = step
        for place in places:
            free ^= 1 << (place + step & mask)
    return tuple(displacement)


def _first_fit(places: list[int], free: int, size: int) -> int | None:
    """Return the smallest step that brings all of `places` to free ones; bit n of `free` is place n of `size`."""
    fits = (1 << size) - 1
    for place in places:
        fits &= free >> place | free << size - place
    return (fits & -fits).bit_length() - 1 if fits else None
