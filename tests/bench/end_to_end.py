"""Packets a second from end to end on one core, generating them included: the node beside what a kernel brings along.

Contenders stand ready side by side and take turns with each stream, so that a slow moment of the machine hits all of
them. Time is the CPU time of the generating call: the thread is alone on its core (SCHED_FIFO), so all that packets
cause there runs within it. A rate counts what the receiver counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from statistics import median

from tests.bench.clock import quiet_core
from tests.bench.contenders import (
    CONTENDERS,
    FLOOD,
    MANY,
    MILLION,
    ONE,
    ONE_THOUSAND,
    Contender,
    ready,
)
from tests.bench.fleet import VIPS
from tests.bench.goals import FLAT, OVER_FORWARDING, OVER_NFTABLES, Comparison
from tests.bench.packets import ACK, SYN, tcp_frame
from tests.bench.road import Ends, Passage, Road, Stream

HEAD = f"{'end to end, one core':<28}{'stream':<12}{'Mpps':>8}{'ns each':>10}{'arrived':>10}"
PACKETS = 1 << 20
ROUNDS = 5
STREAMS = (
    Stream(ONE, tcp_frame(ACK), 1, 1),
    Stream(ONE_THOUSAND, tcp_frame(ACK), 1 << 10, VIPS),
    Stream(MANY, tcp_frame(ACK), 1 << 16, VIPS),
    Stream(MILLION, tcp_frame(ACK), 1 << 20, VIPS),
    Stream(FLOOD, tcp_frame(SYN), 1 << 32, VIPS),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """One line of the result: the median over rounds, in million packets a second, and what came through."""

    contender: str
    stream: str
    mpps: float
    sent: int
    arrived: int

    @property
    def row(self) -> str:
        """A line of the table."""
        each = f"{1000 / self.mpps:>10.0f}"
        return (
            f"{self.contender:<28}{self.stream:<12}{self.mpps:>8.2f}{each}{self.arrived / self.sent:>10.2%}"
        )

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {"what": "rate", **asdict(self)}


def rates(
    packets: int = PACKETS,
    rounds: int = ROUNDS,
    core: Callable[[], AbstractContextManager[None]] = quiet_core,
) -> Iterator[Rate | Comparison]:
    """Measure every contender, then compare."""
    found: dict[tuple[str, str], float] = {}
    ends = Ends()
    with ExitStack() as stack:
        roads = {name: stack.enter_context(ready(each, ends)) for name, each in CONTENDERS.items()}
        for stream in STREAMS:
            with core():
                passages = take_turns(roads, stream, packets, rounds)
            for name, each in passages.items():
                rate = _rate(name, stream, each)
                found[name, stream.name] = rate.mpps
                yield rate
    yield from compare(found)


def take_turns(
    roads: Mapping[str, Road], stream: Stream, packets: int, rounds: int
) -> dict[str, list[Passage]]:
    """Send the stream along every road whose contender takes it, in turn, after a round that does not count."""
    entrants = {name: CONTENDERS[name] for name in roads if stream.name in CONTENDERS[name].streams}
    for name, each in entrants.items():
        _send(roads[name], each, stream, min(2 * stream.flows, packets))
    passages: dict[str, list[Passage]] = {name: [] for name in entrants}
    for _ in range(rounds):
        for name, each in entrants.items():
            passages[name].append(_send(roads[name], each, stream, packets))
    return passages


def _send(road: Road, contender: Contender, stream: Stream, packets: int) -> Passage:
    passage = road.send(stream, contender.arrival, packets)
    if passage.strayed or not passage.arrived:
        raise AssertionError(f"{contender.name}, {stream.name}: {passage}: not what was to arrive")
    return passage


def _rate(name: str, stream: Stream, passages: list[Passage]) -> Rate:
    mpps = median(each.arrived / each.seconds for each in passages) / 1e6
    sent, arrived = (sum(getattr(each, count) for each in passages) for count in ("sent", "arrived"))
    return Rate(name, stream.name, mpps, sent, arrived)


def compare(mpps: Mapping[tuple[str, str], float]) -> Iterator[Comparison]:
    """Compare the node with the others, and with itself by (contender, stream)."""
    for arm in ("", ", one arm"):
        for name, goal in (("nftables DNAT", OVER_NFTABLES), ("kernel forwarding", OVER_FORWARDING)):
            ratio = mpps["node" + arm, ONE_THOUSAND] / mpps[name + arm, ONE_THOUSAND]
            yield Comparison(f"node over {name}{arm}, {ONE_THOUSAND}", ratio, goal, at_least=True)
    rates = {stream: rate for (name, stream), rate in mpps.items() if name == "node"}
    slowest = min(rates, key=lambda stream: rates[stream])
    share = rates[slowest] / max(rates.values())
    yield Comparison(f"node, {slowest}, over its best rate", share, FLAT, at_least=True)
