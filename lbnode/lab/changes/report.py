"""What the drill of changes found: the JSON of `lbctl lab drill changes --json`, and the exit status. Pure."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbnode.lab.changes.stages import STAGES, Course
from lbnode.lab.report import Verdict


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """One change: the epoch that carried it out (None: there was none), and how that went.

    `seconds` is from the order until the last node's kernel used the epoch (None: one never did); `through` is the
    node that was asked. `held`: admission let it wait.
    """

    what: str
    through: str
    epoch: int | None
    seconds: float | None
    held: bool
    course: Course

    def as_json(self) -> dict[str, Any]:
        """The change in the report's JSON."""
        return {
            "what": self.what,
            "through": self.through,
            "epoch": self.epoch,
            "every_kernel_ms": None if self.seconds is None else _ms(self.seconds),
            "held": self.held,
            "stages_ms": {stage: _ms(seconds) for stage, seconds in self.course.durations().items()},
            "laggards": list(self.course.laggards),
        }


@dataclass(frozen=True, slots=True)
class ChangesReport:
    """All changes. `cpu_s`: processor seconds that the lab's daemons took meanwhile, by kind of daemon."""

    nodes: int
    backends: int
    pause_s: float
    changes: tuple[ChangeReport, ...]
    cpu_s: Mapping[str, float]

    @property
    def times_s(self) -> list[float]:
        """Seconds from order to every kernel of the changes that were not held, the shortest first."""
        return sorted(each.seconds for each in self.changes if each.seconds is not None and not each.held)

    @property
    def lost(self) -> list[ChangeReport]:
        """The changes that did not reach every kernel."""
        return [each for each in self.changes if each.seconds is None]

    @property
    def verdict(self) -> Verdict:
        """Whether every change reached every kernel, and there is a time to tell."""
        if self.lost:
            return Verdict.BROKEN
        return Verdict.HELD if self.times_s else Verdict.NOTHING

    @property
    def laggards(self) -> dict[str, int]:
        """Who had not acknowledged an offer when it was made current, and how often."""
        return dict(Counter(name for each in self.changes for name in each.course.laggards))

    def stages_s(self) -> dict[str, list[float]]:
        """Return the seconds that each stage took in the changes that were not held, the shortest first."""
        found: dict[str, list[float]] = {stage: [] for stage in STAGES}
        for each in self.changes:
            if not each.held:
                for stage, seconds in each.course.durations().items():
                    found[stage].append(seconds)
        return {stage: sorted(times) for stage, times in found.items() if times}

    def as_json(self) -> str:
        """The whole report as one line of JSON."""
        count = len(self.changes) or 1
        return json.dumps(
            {
                "verdict": self.verdict.name.lower(),
                "nodes": self.nodes,
                "backends": self.backends,
                "pause_s": self.pause_s,
                "changes": len(self.changes),
                "held": sum(each.held for each in self.changes),
                "lost": [each.what for each in self.lost],
                "every_kernel_ms": spread_ms(self.times_s),
                "stages_ms": {stage: spread_ms(times) for stage, times in self.stages_s().items()},
                "laggards": self.laggards,
                "cpu_ms_a_change": {kind: _ms(seconds / count) for kind, seconds in self.cpu_s.items()},
                "each": [each.as_json() for each in self.changes],
            }
        )


def spread_ms(times_s: Sequence[float]) -> dict[str, float] | None:
    """Return median, p90, p99 and the longest of times that are in order, in milliseconds; None without any."""
    if not times_s:
        return None
    return {
        "median": _ms(statistics.median(times_s)),
        "p90": _ms(_percentile(times_s, 90)),
        "p99": _ms(_percentile(times_s, 99)),
        "longest": _ms(times_s[-1]),
    }


def _percentile(times_s: Sequence[float], percent: int) -> float:
    """The smallest time that at least so many of all do not exceed (nearest rank)."""
    return times_s[-(-len(times_s) * percent // 100) - 1]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
