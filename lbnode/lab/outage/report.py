"""What the drill of the store found: the JSON of `lbctl lab drill store --json`, and the exit status. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lbnode.lab.churn.judgement import Broken
from lbnode.lab.report import Verdict

LEAST_SHARE = 0.10
"""Of the packets, that those who are cut off must carry."""


class Scope(StrEnum):
    """Who is cut off from the fleet's memory."""

    ONE = "one"
    """A node and an agent; the others go on changing the fleet."""
    ALL = "all"
    """Everybody: the store is gone."""


@dataclass(frozen=True, slots=True)
class ActReport:
    """Something that was done, seconds after the cut, and how long it took to have its effect; `failed`: why not."""

    what: str
    at_s: float
    took_s: float
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """The act in the report's JSON."""
        told = {"what": self.what, "at_s": round(self.at_s, 1), "took_s": round(self.took_s, 1)}
        return {**told, "failed": self.failed} if self.failed else told


@dataclass(frozen=True, slots=True)
class Usage:
    """What a daemon holds: memory in MiB, and open files."""

    memory_mib: float
    files: int


@dataclass(frozen=True, slots=True)
class OutageReport:
    """Everything. `lasted` are the flows that lived through the whole cut.

    Nobody promised otherwise of those that broke after their bucket's window had ended (`outlived`), or that a local
    view had opened where no epoch of the fleet has them (`unlisted`).

    `untrue` is what a status said that was not so, and how often; `cut_off_share` the part of all packets that nodes
    carried which were cut off. `usage`: of each daemon that was not restarted, soon after the cut and at its end.
    """

    scope: Scope
    cut_s: float
    window_s: float
    flows: int
    lasted: int
    exchanges: int
    longest_wait_s: float
    broken: tuple[Broken, ...]
    outlived: tuple[Broken, ...]
    unlisted: tuple[Broken, ...]
    victims: int
    refused: int
    acts: tuple[ActReport, ...]
    agreed_after_s: float
    untrue: Mapping[str, int]
    looks: int
    cut_off_share: float
    local_tables: int
    usage: Mapping[str, tuple[Usage, Usage]]

    @property
    def verdict(self) -> Verdict:
        """What the drill proved."""
        if self.broken or self.untrue or any(act.failed for act in self.acts):
            return Verdict.BROKEN
        return Verdict.NOTHING if self.unproved else Verdict.HELD

    @property
    def unproved(self) -> tuple[str, ...]:
        """Why this drill proves nothing, even if all went well; empty when it proves what it should."""
        found = []
        if not self.lasted:
            found.append("no flow lived through the whole cut")
        if not self.victims:
            found.append("no flow was named before the backend died")
        if not self.local_tables:
            found.append("nobody who was cut off left the dead backend out by itself")
        if self.cut_off_share < LEAST_SHARE:
            found.append(
                f"{self.cut_off_share:.1%} of the packets went by those cut off, of {LEAST_SHARE:.0%}"
            )
        return tuple(found)

    @property
    def reasons(self) -> dict[str, int]:
        """How flows broke, and how many each way."""
        return dict(Counter(each.why for each in self.broken))

    def as_json(self) -> str:
        """The whole report as one line of JSON."""
        return json.dumps(
            {
                "verdict": self.verdict.name.lower(),
                "unproved": self.unproved,
                "scope": self.scope,
                "cut_s": self.cut_s,
                "window_s": self.window_s,
                "flows": self.flows,
                "lasted": self.lasted,
                "exchanges": self.exchanges,
                "longest_wait_s": round(self.longest_wait_s, 2),
                "broken": len(self.broken),
                "reasons": self.reasons,
                "outlived_window": len(self.outlived),
                "unlisted": len(self.unlisted),
                "victims": self.victims,
                "refused_by_failing": self.refused,
                "agreed_after_s": round(self.agreed_after_s, 2),
                "looks": self.looks,
                "untrue": self.untrue,
                "cut_off_share": round(self.cut_off_share, 4),
                "local_tables": self.local_tables,
                "acts": [act.as_json() for act in self.acts],
                "usage": {name: [_usage(each) for each in pair] for name, pair in self.usage.items()},
                "broken_flows": [_flow(each) for each in self.broken],
                "outlived_flows": [_flow(each) for each in self.outlived],
                "unlisted_flows": [_flow(each) for each in self.unlisted],
            }
        )


def _usage(usage: Usage) -> dict[str, float]:
    return {"memory_mib": round(usage.memory_mib, 1), "files": usage.files}


def _flow(broken: Broken) -> dict[str, Any]:
    flow = broken.flow
    return {
        "flow": flow.number,
        "kind": flow.kind,
        "server": flow.server,
        "bucket": broken.bucket,
        "why": broken.why,
        "note": flow.note,
        "lived_s": round(flow.ended_at - flow.opened_at, 2),
        "tables": [
            [round(place.at - flow.ended_at, 2), place.node, place.epoch, *place.backends]
            for place in broken.places
        ],
    }
