"""SipHash-c-d: a keyed hash of short strings (Aumasson and Bernstein, 2012), in plain Python.

The data plane offers SipHash-1-3; the number of rounds is an argument so that the published vectors of
SipHash-2-4 can be run through the same code.
"""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1

State = tuple[int, int, int, int]


def siphash(key: bytes, message: bytes, compressions: int = 1, finalizations: int = 3) -> int:
    """Return the 64-bit SipHash of `message` under the 16-byte `key`."""
    k0, k1 = struct.unpack("<QQ", key)
    state: State = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    for word in _words(message):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _rounds((v0, v1, v2, v3 ^ word), compressions)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _rounds((v0, v1, v2 ^ 0xFF, v3), finalizations)
    return v0 ^ v1 ^ v2 ^ v3


def _words(message: bytes) -> tuple[int, ...]:
    """The message as little-endian words; the last one carries the message's length in its top byte."""
    padding = bytes(7 - len(message) % 8)
    padded = message + padding + bytes([len(message) & 0xFF])
    return struct.unpack(f"<{len(padded) // 8}Q", padded)


def _rounds(state: State, count: int) -> State:
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v2 = (v2 + v3) & _MASK
        v1 = _rotate(v1, 13) ^ v0
        v3 = _rotate(v3, 16) ^ v2
        v0 = (_rotate(v0, 32) + v3) & _MASK
        v2 = (v2 + v1) & _MASK
        v1 = _rotate(v1, 17) ^ v2
        v3 = _rotate(v3, 21) ^ v0
        v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
