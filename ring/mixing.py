"""Where failover's chance comes from: 64-bit keys of buckets and slots, mixed without a table or a state."""

from __future__ import annotations

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: consecutive numbers land far apart (SplitMix: Steele, Lea and Flood, 2014)."""

_SLOTS = 0x5851F42D4C957F2D


def mix(word: int) -> int:
    """Return `word` through MurmurHash3's 64-bit finaliser, a bijection that mixes every bit into all."""
    word ^= word >> 33
    word = word * 0xFF51AFD7ED558CCD & MASK
    word ^= word >> 33
    word = word * 0xC4CEB9FE1A85EC53 & MASK
    return word ^ word >> 33


def bucket_base(seed: int) -> int:
    """Return where the bucket keys of the pool with `seed` (0..2^64-1) start."""
    return mix(seed)


def slot_base(seed: int) -> int:
    """Return where the slot keys of the pool with `seed` start: another sequence than the buckets'."""
    return mix(seed ^ _SLOTS)


def key_of(base: int, number: int) -> int:
    """Return the key of bucket or slot `number` in the sequence that starts at `base`."""
    return mix((base + (number + 1) * STEP) & MASK)
