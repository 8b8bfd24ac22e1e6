"""What is written down while the churn drill runs, and the report made of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lbnode.lab.churn import evidence
from lbnode.lab.churn.evidence import Span, Spans
from lbnode.lab.churn.flow import Ended
from lbnode.lab.churn.judgement import find_failed, judge
from lbnode.lab.churn.memory import Holds, Memory
from lbnode.lab.churn.report import Change, ChurnReport, EventReport, Moved
from lbnode.lab.churn.sightings import Sightings
from lbnode.lab.churn.stage import Stage
from lbnode.model.epoch import BackendState

AFTERMATH_S = 5.0
"""Second chances so long after a happening still count as its own."""
FORWARDED = "forwarded_"
"""What the names of the counters of packets that a backend passed on begin with (lbnode/bpf/decap_layout.h)."""
EXTRA_HOP = "extra_hop"


@dataclass(slots=True)
class Log:
    """What is written down while the drill runs. `chances`: when, and how many packets had been passed on by then.

    `absences`: daemons that did not run or were out of reach; `silences`: nodes that forwarded nothing.
    """

    began: float
    events: list[EventReport] = field(default_factory=list)
    absences: list[Span] = field(default_factory=list)
    silences: list[Span] = field(default_factory=list)
    chances: list[tuple[float, int]] = field(default_factory=list)

    def chances_at(self, at: float) -> int:
        """Packets that had been passed on by then, as far as is known."""
        return next((count for seen_at, count in reversed(self.chances) if seen_at <= at), 0)


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that is known of a run: what was done, written down, and seen in the kernels."""

    stage: Stage
    log: Log
    memory: Memory
    holds: Holds
    sightings: Sightings

    def report(
        self, seed: int, alive: int, buckets: Mapping[int, int], counted: Mapping[str, Mapping[str, int]]
    ) -> ChurnReport:
        """Return the report. `buckets`: of the flows, by port; `counted`: outcomes by backend."""
        stage, sightings = self.stage, self.sightings
        look, ended = stage.crowd.look(), stage.crowd.ended()
        failed = find_failed(stage.failures, self.memory.id_of, self.log.silences, sightings)
        judgement = judge(ended, buckets, failed, sightings)
        seconds = time.monotonic() - self.log.began
        return ChurnReport(
            seed=seed,
            alive=alive,
            flows=len(ended),
            kinds={str(kind): count for kind, count in Counter(flow.kind for flow in ended).items()},
            exchanges=sum(flow.exchanges for flow in ended),
            longest_wait_s=max((flow.longest_wait_s for flow in ended), default=0.0),
            broken=judgement.broken,
            victims=judgement.victims,
            refused=judgement.refused,
            moved=_moved(ended, buckets, sightings, stage.isolated),
            second_chances=second_chances(counted),
            extra_hops=sum(outcomes.get(EXTRA_HOP, 0) for outcomes in counted.values()),
            holds=self.holds.all(),
            changes=tuple(self._changes()),
            events=tuple(
                sorted(map(self._with_chances, self.log.events), key=lambda event: event.planned.number)
            ),
            isolated=stage.isolated,
            isolated_share=evidence.shares(sightings.packets).get(stage.isolated, 0.0),
            differing=tuple(evidence.differing(sightings.switches, {stage.isolated})),
            epochs=len(sightings.tables),
            seconds=seconds,
            crowd_cpu=look.cpu_s / seconds,
            began_at=self.log.began,
        )

    def _with_chances(self, event: EventReport) -> EventReport:
        began = self.log.began + event.began_s
        until_ = began + event.took_s + AFTERMATH_S
        return replace(event, second_chances=self.log.chances_at(until_) - self.log.chances_at(began))

    def _changes(self) -> Iterator[Change]:
        for order in self.stage.orders:
            epoch = self.memory.epoch_of(order)
            nodes = evidence.present_at(order.at, self.log.absences, self.sightings) - {self.stage.isolated}
            at = None if epoch is None else evidence.everywhere_at(epoch, nodes, self.sightings.switches)
            promise = order.promise
            until_ = float("inf") if at is None else at
            held = any(hold.concerns(promise.backend, order.at, until_) for hold in self.holds.all())
            seconds = None if at is None else max(0.0, at - order.at)
            yield Change(promise.what, epoch, seconds, held, promise.state is not BackendState.FAILED)


def _moved(ended: Sequence[Ended], buckets: Mapping[int, int], sightings: Sightings, isolated: str) -> Moved:
    spans = Spans(
        np.array([buckets[flow.port] for flow in ended], dtype=np.uint32),
        np.array([flow.opened_at for flow in ended]),
        np.array([flow.ended_at for flow in ended]),
    )
    node = evidence.changed_node(spans, sightings)
    owner = evidence.changed_owner(spans, sightings, {isolated})
    return Moved(float(node.mean()), float(owner.mean()), float((node & owner).mean()))


def second_chances(backends: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Packets passed on by all backends together, by the counter's name."""
    found: Counter[str] = Counter()
    for outcomes in backends.values():
        found.update({name: count for name, count in outcomes.items() if name.startswith(FORWARDED)})
    return dict(found)
