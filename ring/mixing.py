"""Where failover's chance comes from: 64-bit keys of buckets and slots, mixed without a table or a state."""

from __future__ import annotations

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: consecutive numbers land far apart (Steele, Lea and Flood's SplitMix, 2014)."""

_SLOTS = 0x5851F42D4C957F2D


def mix(word: int) -> int:
    """Return `word` through MurmurHash3's 64-bit finaliser, a bijection that mixes every bit into all."""
    word ^= word >> 33
    word = word * 0xFF51AFD7ED558CCD & MASK
    word ^= word >> 33
    word = word * 0xC4CEB9FE1A85EC53 & MASK
    return word ^ word >> 33


def bucket_base(seed: int) -> int:
    """Return where the pool's sequence of bucket keys starts."""
    return mix(seed)


def bucket_key(seed: int, bucket: int) -> int:
    """Return the key of a bucket in the pool with `seed` (0..2^64-1)."""
    return mix((bucket_base(seed) + (bucket + 1) * STEP) & MASK)


def slot_key(seed: int, number: int) -> int:
    """Return the key of slot `number` in the pool with `seed`: of another sequence than the buckets'."""
    return mix((mix(seed ^ _SLOTS) + (number + 1) * STEP) & MASK)
