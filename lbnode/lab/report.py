"""What a drill found, as values: the JSON of `lbctl lab drill --json`, and the exit status. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Verdict(IntEnum):
    """What a drill proved; the value is the exit status."""

    HELD = 0
    """Flows changed node, and none broke."""
    BROKEN = 1
    """At least one flow broke."""
    NOTHING = 2
    """No flow changed node: nothing was put to the test."""


@dataclass(frozen=True, slots=True)
class EventReport:
    """What the flows saw of one event.

    `seconds` is from the act until the flows had settled. `changed_node` counts the flows of which another
    node than before carried at least one packet. `reasons`: how flows broke, and how many each way.
    """

    what: str
    broken: int
    longest_stall_s: float
    seconds: float
    changed_node: int
    reasons: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The event in the report's JSON."""
        told = {
            "what": self.what,
            "broken": self.broken,
            "longest_stall_s": round(self.longest_stall_s, 3),
            "seconds": round(self.seconds, 1),
            "changed_node": self.changed_node,
        }
        return {**told, "reasons": self.reasons} if self.reasons else told


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What all flows saw of all events. `broken` counts every flow that broke at any time of the drill."""

    flows: int
    broken: int
    exchanges: int
    events: tuple[EventReport, ...]

    @property
    def longest_stall_s(self) -> float:
        """The longest time that any question of any flow waited for its answer."""
        return max((event.longest_stall_s for event in self.events), default=0.0)

    @property
    def verdict(self) -> Verdict:
        """What the drill proved."""
        if self.broken:
            return Verdict.BROKEN
        return Verdict.HELD if any(event.changed_node for event in self.events) else Verdict.NOTHING

    def as_json(self) -> str:
        """The whole report as one line of JSON."""
        return json.dumps(
            {
                "flows": self.flows,
                "broken": self.broken,
                "longest_stall_s": round(self.longest_stall_s, 3),
                "exchanges": self.exchanges,
                "events": [event.as_json() for event in self.events],
            }
        )
