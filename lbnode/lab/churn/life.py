"""Which connections there are: what each does and how long it lives, drawn from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

SHORTEST_S, LONGEST_S = 5.0, 60.0


class FlowKind(StrEnum):
    """What a connection does between its greeting and its last exchange."""

    IDLE = "idle"
    """Nothing at all: it must still be there at the end."""
    CHATTY = "chatty"
    """Small questions, a few a second."""
    DOWNLOAD = "download"
    """The server sends all the time; the client has nothing to say but ACKs."""
    UPLOAD = "upload"
    """The client sends full segments all the time."""
    HALF_CLOSED = "half-closed"
    """The client has said all that it will ever say, and closed its half; the server goes on."""


SHARES = {
    FlowKind.IDLE: 60,
    FlowKind.CHATTY: 16,
    FlowKind.DOWNLOAD: 8,
    FlowKind.UPLOAD: 8,
    FlowKind.HALF_CLOSED: 8,
}
"""Percent of all connections."""


@dataclass(frozen=True, slots=True)
class Life:
    """What one connection is to do, for how many seconds."""

    kind: FlowKind
    life_s: float


def draw(seed: int, number: int, longest_s: float = LONGEST_S) -> Life:
    """Return the life of the `number`th connection of the drill with `seed`: always the same one.

    Long lives are likelier than short ones, for they see more of what happens. A half-closed one cannot be told to
    end, so it lives for LONGEST_S at most.
    """
    chance = random.Random(f"{seed} flow {number}")
    (kind,) = chance.choices(list(SHARES), weights=list(SHARES.values()))
    most_s = min(longest_s, LONGEST_S) if kind is FlowKind.HALF_CLOSED else longest_s
    return Life(kind, chance.triangular(min(SHORTEST_S, most_s), most_s, most_s))
