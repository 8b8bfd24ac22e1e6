"""What a churn drill tells: the JSON of `lbctl lab drill churn --json`, and the exit status. Pure."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lbnode.lab.churn.judgement import Broken
from lbnode.lab.churn.schedule import BACKEND_CHANGES, Kind, Planned
from lbnode.lab.churn.sightings import OTHER_TABLE, Switch
from lbnode.lab.report import Verdict

LEAST_CHANGED_NODE = 0.30
LEAST_CHANGED_OWNER = 0.30
LEAST_CHANGED_BOTH = 0.05
LEAST_ISOLATED = 0.10
SHOWN_BROKEN = 200


@dataclass(frozen=True, slots=True)
class EventReport:
    """A happening as it went: seconds since the drill's beginning, and why it failed to take effect, if it did.

    `second_chances` are the packets that backends passed on from its beginning until shortly after its end; where
    happenings overlapped, each counts them. `held`: nobody waited any longer for a planned change that admission held.
    """

    planned: Planned
    began_s: float
    took_s: float
    second_chances: int
    failed: str = ""
    held: bool = False

    def as_json(self) -> dict[str, Any]:
        """The event in the report's JSON."""
        told = {
            "what": self.planned.what,
            "kind": self.planned.kind.value,
            "targets": list(self.planned.targets),
            "at_s": self.planned.at_s,
            "began_s": round(self.began_s, 1),
            "took_s": round(self.took_s, 1),
            "second_chances": self.second_chances,
            "held": self.held,
        }
        return {**told, "failed": self.failed} if self.failed else told


@dataclass(frozen=True, slots=True)
class Change:
    """An order to the fleet, and the epoch that carried it out.

    `seconds` is from the order until the last kernel used that epoch (None: one never did); `held` tells that
    admission let it wait. `planned` is False for failures: their time has health checks in it.
    """

    what: str
    epoch: int | None
    seconds: float | None
    held: bool
    planned: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """A planned change that admission held, since when (monotonic clock) and for how long, and at most how many
    flows it waited for (by backend).
    """

    what: str
    seconds: float
    waited_for: Mapping[str, int | None]
    since: float = 0.0

    def concerns(self, backend: str, since: float, until: float) -> bool:
        """True when it was a change of the backend, and lasted into that time of the monotonic clock."""
        return backend in self.what.split() and self.since < until and since < self.since + self.seconds


@dataclass(frozen=True, slots=True)
class Moved:
    """Which part (0 to 1) of all flows changed node, owner or both while they were alive."""

    node: float
    owner: float
    both: float


@dataclass(frozen=True, slots=True)
class ChurnReport:
    """Everything. `alive` is how many flows there were at a time, `flows` how many in all.

    `differing` are switches to another table than other nodes had under the same epoch: a node that has lost the
    fleet's memory for a moment may have its own view of the backends' health.
    """

    seed: int
    alive: int
    flows: int
    kinds: Mapping[str, int]
    exchanges: int
    longest_wait_s: float
    broken: tuple[Broken, ...]
    victims: int
    refused: int
    moved: Moved
    second_chances: Mapping[str, int]
    extra_hops: int
    holds: tuple[Hold, ...]
    changes: tuple[Change, ...]
    events: tuple[EventReport, ...]
    isolated: str
    isolated_share: float
    differing: tuple[Switch, ...]
    epochs: int
    seconds: float
    crowd_cpu: float
    began_at: float

    @property
    def verdict(self) -> Verdict:
        """What the drill proved: a flow that broke is proof enough, whatever else was not."""
        if self.broken:
            return Verdict.BROKEN
        return Verdict.NOTHING if self.unproved else Verdict.HELD

    @property
    def unproved(self) -> tuple[str, ...]:
        """Why this drill proves nothing, even if no flow broke; empty when it proves what it should."""
        least = (
            ("changed node", self.moved.node, LEAST_CHANGED_NODE),
            ("changed owner", self.moved.owner, LEAST_CHANGED_OWNER),
            ("changed both", self.moved.both, LEAST_CHANGED_BOTH),
        )
        found = [
            f"{share:.1%} of the flows {what}, of at least {wanted:.0%}"
            for what, share, wanted in least
            if share < wanted
        ]
        if self.isolated_share < LEAST_ISOLATED:
            found.append(f"{self.isolated} carried {self.isolated_share:.1%} of the packets, of at least 10%")
        chances = self.second_chances_by_kind
        found += [f"no second chance through: {kind}" for kind, count in chances.items() if not count]
        return (*found, *(f"{event.planned.what}: {event.failed}" for event in self.events if event.failed))

    @property
    def second_chances_by_kind(self) -> dict[Kind, int]:
        """Packets passed on, by the kind of backend event under which that happened."""
        found: Counter[Kind] = Counter()
        for event in self.events:
            if event.planned.kind in BACKEND_CHANGES:
                found[event.planned.kind] += event.second_chances
        return dict(found)

    @property
    def reasons(self) -> dict[str, int]:
        """How flows broke, and how many each way."""
        return dict(Counter(each.why for each in self.broken))

    def spread_ms(self) -> tuple[float, float] | None:
        """Median and p99 of the milliseconds from order to every kernel, of planned changes that were not held."""
        times = sorted(
            change.seconds * 1000
            for change in self.changes
            if change.planned and not change.held and change.seconds is not None
        )
        if not times:
            return None
        return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]

    def during(self, at: float) -> list[str]:
        """The events that were under way at a time of the monotonic clock."""
        since_s = at - self.began_at
        return [e.planned.what for e in self.events if e.began_s - 0.5 <= since_s <= e.began_s + e.took_s + 1]

    def as_json(self) -> str:
        """The whole report as one line of JSON."""
        spread = self.spread_ms()
        return json.dumps(
            {
                "seed": self.seed,
                "verdict": self.verdict.name.lower(),
                "unproved": self.unproved,
                "alive": self.alive,
                "flows": self.flows,
                "kinds": self.kinds,
                "exchanges": self.exchanges,
                "longest_wait_s": round(self.longest_wait_s, 3),
                "broken": len(self.broken),
                "reasons": self.reasons,
                "victims": self.victims,
                "refused_by_failing": self.refused,
                "changed_node": round(self.moved.node, 4),
                "changed_owner": round(self.moved.owner, 4),
                "changed_both": round(self.moved.both, 4),
                "second_chances": self.second_chances,
                "second_chances_by_kind": self.second_chances_by_kind,
                "extra_hops": self.extra_hops,
                "held": [
                    {"what": h.what, "seconds": round(h.seconds, 1), "waited_for": h.waited_for}
                    for h in self.holds
                ],
                "longest_hold_s": round(max((hold.seconds for hold in self.holds), default=0.0), 1),
                "epochs": self.epochs,
                "every_kernel_ms": None if spread is None else {"median": spread[0], "p99": spread[1]},
                "changes": [self._change(change) for change in self.changes],
                "isolated": {"node": self.isolated, "share": round(self.isolated_share, 4)},
                "local_tables": [self._differing(switch) for switch in self.differing],
                "seconds": round(self.seconds, 1),
                "crowd_cpu": round(self.crowd_cpu, 3),
                "events": [event.as_json() for event in self.events],
                "broken_flows": [self._flow(each) for each in self.broken[:SHOWN_BROKEN]],
            }
        )

    def _differing(self, switch: Switch) -> dict[str, Any]:
        return {
            "node": switch.node,
            "epoch": switch.epoch % OTHER_TABLE,
            "at_s": round(switch.at - self.began_at, 1),
            "during": self.during(switch.at),
        }

    def _change(self, change: Change) -> dict[str, Any]:
        milliseconds = None if change.seconds is None else round(change.seconds * 1000, 1)
        return {
            "what": change.what,
            "epoch": change.epoch,
            "every_kernel_ms": milliseconds,
            "held": change.held,
        }

    def _flow(self, broken: Broken) -> dict[str, Any]:
        flow = broken.flow
        return {
            "flow": flow.number,
            "kind": flow.kind,
            "server": flow.server,
            "port": flow.port,
            "bucket": broken.bucket,
            "why": broken.why,
            "note": flow.note,
            "at_s": round(flow.ended_at - self.began_at, 2),
            "lived_s": round(flow.ended_at - flow.opened_at, 2),
            "waited_s": round(flow.ended_at - flow.asked_at, 2) if flow.asked_at else 0.0,
            "during": self.during(flow.ended_at),
            "tables": [
                [round(place.at - self.began_at, 2), place.node, place.epoch, *place.backends]
                for place in broken.places
            ],
        }
