"""Where the time of a change goes: what the daemons' logs and the kernels' maps say of one epoch. Pure.

    order ── written ── offered ── loaded by every agent ── current ── first kernel ── every kernel

*Written*: the node that was asked has answered. The rest but the kernels is what daemons logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

STAGES = ("written", "offered", "loaded", "current", "first kernel", "every kernel")
"""What each stage ends with."""

_LINE = re.compile(
    r"^(?P<at>\S+Z) \[\w+ *\] (?P<event>epoch offered|epoch current|table in use) "
    r".*?\bepoch=(?P<epoch>\d+)(?P<rest>.*)$"
)
_WITHOUT = re.compile(r"without=\((?P<names>[^)]*)\)")


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a daemon's log about an epoch. `at` is the wall clock; `without` names those not waited for."""

    at: float
    host: str
    event: str
    epoch: int
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """How one change went: when each of STAGES was over, seconds after the order; None where it is not known.

    `laggards` had not acknowledged the offer when it was made current.
    """

    ends: tuple[float | None, ...]
    laggards: tuple[str, ...]

    def durations(self) -> dict[str, float]:
        """Return the seconds that each stage took, without those whose end or beginning is not known."""
        spans = zip(STAGES, pairwise((0.0, *self.ends)), strict=True)
        return {
            stage: max(0.0, end - begin)
            for stage, (begin, end) in spans
            if begin is not None and end is not None
        }


def read(host: str, lines: Iterable[str]) -> Iterator[Said]:
    """Yield what a daemon's log says of epochs; other lines are passed over."""
    for line in lines:
        found = _LINE.match(line)
        if found:
            names = _WITHOUT.search(found["rest"])
            without = re.findall(r"'([^']*)'", names["names"]) if names else []
            at = datetime.fromisoformat(found["at"]).timestamp()
            yield Said(at, host, found["event"], int(found["epoch"]), tuple(without))


def course(
    epoch: int,
    order_at: float,
    answered_at: float,
    said: Iterable[Said],
    agents: Sequence[str],
    kernels: Mapping[str, float],
) -> Course:
    """Return how the change that led to `epoch` went.

    Times are of the wall clock; `kernels` says of each node when its kernel used the epoch.
    """
    about = [each for each in said if each.epoch == epoch]
    offered = next((each.at for each in about if each.event == "epoch offered"), None)
    current = next((each for each in about if each.event == "epoch current"), None)
    loaded = [each.at for each in about if each.event == "table in use" and each.host in agents]
    ends = (
        answered_at,
        offered,
        max(loaded, default=None),
        current.at if current else None,
        min(kernels.values(), default=None),
        max(kernels.values(), default=None),
    )
    seconds = tuple(None if end is None else end - order_at for end in ends)
    return Course(seconds, current.without if current else ())
