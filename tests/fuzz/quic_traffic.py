"""Payloads of UDP that look like QUIC, nearly or not at all: what connection ids may say, and where they may end."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

VERSIONS = (1, 1, 1, 0x6B3343CF, 0x6B3343CF, 0, 0xFF00001D)
SIZES = (0, 2, 3, 20, 21, 255)


def quic_payload(chance: Random, config: int, ids: Sequence[int]) -> bytes:
    """Return a payload whose connection id names one of `ids` in this configuration, if it names anybody."""
    said = config if chance.random() < 0.85 else chance.randrange(8)
    server = chance.choice(ids).to_bytes(2, "big")
    connection_id = bytes([said << 5 | chance.randrange(32)]) + server
    connection_id += chance.randbytes(chance.choice((0, 1, 5, 5, 5, 17)))
    whole = _head(chance, connection_id) + connection_id + chance.randbytes(chance.choice((0, 0, 1, 30)))
    return whole if chance.random() < 0.9 else whole[: chance.randrange(len(whole) + 1)]


def _head(chance: Random, connection_id: bytes) -> bytes:
    if chance.random() < 0.6:
        return bytes([chance.randrange(0x80)])
    size = len(connection_id) if chance.random() < 0.8 else chance.choice(SIZES)
    return bytes([chance.randrange(0x80, 0x100), *chance.choice(VERSIONS).to_bytes(4, "big"), size])
