"""A fixed-point logarithm that is the same on every machine: integers only, no libm.

`minus_log2` turns a uniform 32-bit draw into an exponentially distributed number, which weighted rendezvous
divides by a weight. Between the 2^10 + 1 entries of the table it is a straight line, so it is monotone, never
below the true value and at most 0.03 % above it, which weights do not notice.
"""

from __future__ import annotations

from functools import cache

TABLE_BITS = 10
FRACTION_BITS = 32

_WORKING_BITS = 128
_LINE_BITS = FRACTION_BITS - TABLE_BITS


@cache
def table() -> tuple[int, ...]:
    """Return log2(1 + i / 2^10) for i = 0..2^10 with 32 fraction bits, rounded down."""
    entries = 1 << TABLE_BITS
    numbers = ((entries + i) << (_WORKING_BITS - TABLE_BITS) for i in range(entries))
    return (*map(_log2, numbers), 1 << FRACTION_BITS)


def minus_log2(draw: int) -> int:
    """Return -log2((draw + 1) / 2^32) with 32 fraction bits, for a `draw` of 0..2^32-1: 0 up to 32 << 32."""
    number = draw + 1
    exponent = number.bit_length() - 1
    mantissa = (number << (FRACTION_BITS - exponent)) - (1 << FRACTION_BITS)
    index, rest = mantissa >> _LINE_BITS, mantissa & ((1 << _LINE_BITS) - 1)
    below, above = table()[index : index + 2]
    return ((FRACTION_BITS - exponent) << FRACTION_BITS) - (below + ((above - below) * rest >> _LINE_BITS))


def _log2(number: int) -> int:
    """log2 of `number` / 2^128 in [1, 2), one bit a squaring."""
    result = 0
    for _ in range(FRACTION_BITS):
        number = number * number >> _WORKING_BITS
        carry = number >> (_WORKING_BITS + 1)
        number >>= carry
        result = result << 1 | carry
    return result
