"""The drill: flows run, things happen to the fleet, and every flow is asked what it saw.

    open flows ── quiet ──┬── act ── done ── settled ── quiet ──┬── act ── …
                          └──────── the window of an event ─────┘

Flows have *settled* when each has asked and been answered since the event took effect. The quiet second
after that shows which node carries each flow now: the reference for the next event. Windows touch, so no
time goes unseen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from lbnode.lab.carriers import Sample, carriers, changed, choose_ports
from lbnode.lab.counters import read_sample
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.events import STALL_S, Event
from lbnode.lab.flow_process import FlowProcess
from lbnode.lab.flows import Look
from lbnode.lab.plan import DRILL_PORT, VIP
from lbnode.lab.report import DrillReport, EventReport
from lbnode.lab.running import POLL_S, RunningLab, wait_until
from lbnode.model.explanation import FlowQuestion
from lbnode.model.fleet import Protocol as IpProtocol

EXCHANGES_A_SECOND = 4.5
SOURCE_PORTS = range(20000, 61000)
OPEN_WAIT_S = 10.0
NODES_WAIT_S = 20.0
QUIET_S = 1.0
SETTLE_MARGIN_S = 2.0
"""Flows get this much longer than an event allows before the drill stops waiting for them."""


class Audience(Protocol):
    """Who watches a drill: a screen, or nobody."""

    def opened(self, look: Look) -> None:
        """All flows are open and answered."""

    def began(self, event: Event) -> None:
        """An event is about to happen."""

    def saw(self, look: Look) -> None:
        """So it looks in the middle of an event; several times a second."""

    def ended(self, report: EventReport) -> None:
        """An event is over, its flows have settled."""


@dataclass(frozen=True, slots=True)
class _State:
    """Where the drill stands between two events: the counters, and the node that carries each flow."""

    sample: Sample
    carriers: list[str | None]


class Drill:
    """One run of events over one set of flows."""

    def __init__(
        self, lab: RunningLab, flows: FlowProcess, buckets: Sequence[int], audience: Audience
    ) -> None:
        self._lab = lab
        self._flows = flows
        self._buckets = buckets
        self._audience = audience

    def run(self, events: Sequence[Event]) -> DrillReport:
        """Let the events happen one after the other; whatever comes, undo what has happened."""
        happened: list[Event] = []
        try:
            return self._run(events, happened)
        finally:
            for event in reversed(happened):
                event.undo(self._lab)

    def _run(self, events: Sequence[Event], happened: list[Event]) -> DrillReport:
        self._settle(time.monotonic(), OPEN_WAIT_S)
        self._audience.opened(self._flows.look())
        state = self._quiet()
        self._flows.close_window(STALL_S)
        reports = []
        for event in events:
            happened.append(event)
            report, state = self._happen(event, state)
            reports.append(report)
        look = self._flows.look()
        return DrillReport(look.flows, look.flows - look.whole, look.exchanges, tuple(reports))

    def _happen(self, event: Event, before: _State) -> tuple[EventReport, _State]:
        """One event, from the act to the quiet after it."""
        self._audience.began(event)
        began = time.monotonic()
        event.act(self._lab)
        self._await_effect(event, began)
        self._settle(time.monotonic(), event.limit_s + SETTLE_MARGIN_S)
        seconds = time.monotonic() - began
        after = self._quiet()
        window = self._flows.close_window(event.limit_s)
        moved = changed(before.carriers, before.sample, after.sample)
        report = EventReport(
            event.what, window.broken, window.longest_stall_s, seconds, moved, window.reasons
        )
        self._audience.ended(report)
        return report, after

    def _await_effect(self, event: Event, began: float) -> None:
        while not event.done(self._lab):
            if time.monotonic() - began > event.within_s:
                raise LabError(
                    f"{event.what}: no effect within {event.within_s:g} s: "
                    f"logs lie beneath {self._lab.directory('')}"
                )
            self._audience.saw(self._flows.look())
            time.sleep(POLL_S)

    def _settle(self, since: float, at_most_s: float) -> None:
        """Wait until every whole flow has asked and been answered `since`, at most `at_most_s`."""
        while time.monotonic() < since + at_most_s:
            look = self._flows.look(since)
            self._audience.saw(look)
            if look.settled == look.whole:
                return
            time.sleep(POLL_S)

    def _quiet(self) -> _State:
        """Watch the flows for a second in which nothing happens."""
        earlier = self._sample()
        time.sleep(QUIET_S)
        later = self._sample()
        return _State(later, carriers(earlier, later))

    def _sample(self) -> Sample:
        return read_sample(self._lab, self._buckets)


def run_drill(lab: RunningLab, events: Sequence[Event], flows: int, audience: Audience) -> DrillReport:
    """Open `flows` connections from the lab's first client and run the events. Raises LabError."""
    await_nodes(lab)
    client = lab.plan.host("client")
    ports, buckets = own_buckets(lab, client.address, flows)
    with FlowProcess(client.namespace) as process:
        process.open(str(client.address), ports, (str(VIP), DRILL_PORT), EXCHANGES_A_SECOND)
        return Drill(lab, process, buckets, audience).run(events)


def await_nodes(lab: RunningLab) -> None:
    """Wait until every node gets traffic, as after an earlier drill. Raises LabError naming those without."""
    nodes = {node.name for node in lab.nodes}
    try:
        wait_until(lambda: lab.next_hops() == nodes, NODES_WAIT_S, "drill: every node gets traffic")
    except OverdueError as error:
        missing = ", ".join(sorted(nodes - lab.next_hops()))
        raise LabError(f"{error}: without {missing}: undrain or repair it first: lbctl status") from None


def own_buckets(lab: RunningLab, source: IPv4Address, flows: int) -> tuple[list[int], list[int]]:
    """Return source ports for flows from `source` to the drill's VIP, and their buckets: one each."""
    with lab.client(lab.nodes[0].name) as client:

        def bucket_of(port: int) -> int:
            return client.explain(FlowQuestion(source, port, VIP, DRILL_PORT, IpProtocol.TCP)).bucket

        return choose_ports(_shuffled(SOURCE_PORTS), bucket_of, flows)


def _shuffled(ports: range) -> Iterable[int]:
    return random.sample(ports, len(ports))
