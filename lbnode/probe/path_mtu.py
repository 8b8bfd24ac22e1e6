"""The largest packet that a path carries, measured: what the kernel believes is not asked."""

from __future__ import annotations

from lbnode.model.ids import IPAddress
from lbnode.probe.echo import Echoes

PATIENCE_S = 0.4
SMALL = 100
LEAST = {4: 576, 6: 1280}
"""What every path of a family carries (RFC 1122, RFC 8200)."""
FINENESS = 16
"""Sizes that are tried at once."""


async def path_mtu(echoes: Echoes, address: IPAddress, expected: int) -> int | None:
    """Return the bytes, IP header included, that get to `address`: at most `expected`.

    None: not even a small packet is answered. One round trip when the path is as `expected`.
    """
    if await _answers(echoes, address, expected):
        return expected
    if not await _answers(echoes, address, SMALL):
        return None
    good, bad = min(LEAST[address.version], expected), expected
    while bad - good > 1:
        step = max(1, (bad - good) // FINENESS)
        sizes = range(good + step, bad, step)
        answered = await echoes.answered(address, sizes, PATIENCE_S)
        good = max(answered, default=good)
        bad = min((size for size in sizes if size > good), default=bad)
    return good


async def _answers(echoes: Echoes, address: IPAddress, size: int) -> bool:
    """Whether a packet of that size is answered; a lost one is not the last word."""
    for _ in range(2):
        if await echoes.answered(address, [size], PATIENCE_S):
            return True
    return False
