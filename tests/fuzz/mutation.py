"""What chance does to a frame: the ways in which bytes go wrong between a sender's bug and ours."""

from __future__ import annotations

from random import Random

LARGEST, SMALLEST = 3200, 14
"""Bytes of a frame that BPF_PROG_TEST_RUN takes, less some room."""
HEADERS = 124
"""Most changes hit the first bytes: no program looks much further."""
ODD_BYTES = (0, 1, 4, 5, 6, 0x0F, 0x11, 0x2F, 0x45, 0x46, 0x60, 0x7F, 0x80, 0xFF)


def mutate(chance: Random, frame: bytes) -> bytes:
    """Return the frame with one to four changes; it stays one that the kernel takes."""
    data = bytearray(frame)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        chance.choice(_CHANGES)(chance, data)
    return bytes(data[:LARGEST]).ljust(SMALLEST, b"\0")


def _place(chance: Random, data: bytearray, size: int = 1) -> int:
    return chance.randrange(max(1, min(len(data), HEADERS) - size + 1))


def _flip(chance: Random, data: bytearray) -> None:
    if data:
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _replace(chance: Random, data: bytearray) -> None:
    if data:
        data[_place(chance, data)] = chance.choice(ODD_BYTES)


def _replace_any(chance: Random, data: bytearray) -> None:
    if data:
        data[_place(chance, data)] = chance.randrange(256)


def _count(chance: Random, data: bytearray) -> None:
    """Add to, or take from, 16 bits: lengths off by a little."""
    at = _place(chance, data, 2)
    word = int.from_bytes(data[at : at + 2], "big") + chance.choice((-20, -8, -4, -2, -1, 1, 2, 4, 8, 20))
    if at + 2 <= len(data):
        data[at : at + 2] = (word & 0xFFFF).to_bytes(2, "big")


def _cut(chance: Random, data: bytearray) -> None:
    del data[chance.randrange(SMALLEST, max(len(data), SMALLEST) + 1) :]


def _lengthen(chance: Random, data: bytearray) -> None:
    data += chance.randbytes(chance.randint(1, 60))


def _insert(chance: Random, data: bytearray) -> None:
    at = _place(chance, data)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8)))


def _remove(chance: Random, data: bytearray) -> None:
    at = _place(chance, data)
    del data[at : at + chance.choice((1, 2, 4, 8))]


def _repeat(chance: Random, data: bytearray) -> None:
    """Copy one part of the headers over, or in front of, another one."""
    size = chance.choice((2, 4, 8, 20))
    start, at = _place(chance, data, size), _place(chance, data, size)
    data[at : at + chance.choice((0, size))] = data[start : start + size]


_CHANGES = (
    _flip, _flip, _flip, _replace, _replace, _replace_any, _count, _count, _cut, _cut, _lengthen, _insert, _remove,
    _repeat,
)  # fmt: skip
