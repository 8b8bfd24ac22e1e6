"""A trial: the same packets through a real program and its model, and the first difference between the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lbnode.dataplane.libbpf import Program
from tests.fuzz.kernel import Redirects, TestRuns
from tests.fuzz.worlds import Packet

Key = tuple[str, object]
"""A counter: of an outcome, a VIP, a backend, a bucket."""
REDIRECT = 4
WATCHED = 24
"""Packets of a trial whose redirection is looked at once more."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a model says of one packet. `counts`: the counters that count it, each with its bytes."""

    outcome: str
    verdict: int
    data: bytes
    counts: tuple[tuple[Key, int], ...]
    ifindex: int = 0


@dataclass(slots=True)
class Tally:
    """Packets and bytes by counter."""

    packets: Counter[Key] = field(default_factory=Counter)
    bytes: Counter[Key] = field(default_factory=Counter)

    def add(self, counts: Sequence[tuple[Key, int]]) -> None:
        for key, size in counts:
            self.packets[key] += 1
            self.bytes[key] += size


class Subject(Protocol):
    """A loaded program on maps that hold a world, and the model of both."""

    @property
    def program(self) -> Program: ...

    def frame(self, packet: Packet) -> bytes:
        """Return the packet's bytes, with the numbers filled in that the kernel has chosen."""
        ...

    def advance(self) -> None:
        """Let the world's changes happen."""
        ...

    def expect(self, frame: bytes, metadata: int) -> Expected:
        """Return what the model says; it remembers the packet as the program does."""
        ...

    def counted(self) -> Tally:
        """Return all that the program has counted since it was loaded."""
        ...


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where program and model part: packet `index` of a trial; `what` is "verdict", "frame", "counters", "target"."""

    index: int
    what: str
    outcome: str
    said: str
    found: str

    def __str__(self) -> str:
        return f"packet {self.index}, {self.outcome}: {self.what}: model {self.said}, program {self.found}"


def play(
    subject: Subject, packets: Sequence[Packet], hits: Counter[str], redirects: Redirects | None = None
) -> Divergence | None:
    """Send `packets` through program and model; add what the model saw to `hits`.

    A difference in the counters is found after the last packet: its index is that one's.
    """
    run, tally = TestRuns(subject.program), Tally()
    elsewhere: list[int] = []
    outcome, early = "nothing", True
    for index, packet in enumerate(packets):
        if early and not packet.early:
            early = False
            subject.advance()
        frame = subject.frame(packet)
        expected = subject.expect(frame, packet.metadata)
        verdict, data = run(frame, packet.metadata)
        tally.add(expected.counts)
        outcome = expected.outcome
        if verdict != expected.verdict:
            return Divergence(index, "verdict", outcome, str(int(expected.verdict)), str(verdict))
        if data != expected.data:
            return Divergence(index, "frame", outcome, expected.data.hex(), data.hex())
        if verdict == REDIRECT and len(elsewhere) < WATCHED and not packet.metadata:
            elsewhere.append(index)
    hits.update({str(name): count for (kind, name), count in tally.packets.items() if kind == "outcome"})
    return _compare(subject.counted(), tally, len(packets) - 1, outcome) or (
        _watch(subject, packets, elsewhere, redirects) if redirects else None
    )


def _compare(found: Tally, said: Tally, index: int, outcome: str) -> Divergence | None:
    if +found.packets == +said.packets and +found.bytes == +said.bytes:
        return None
    return Divergence(index, "counters", outcome, *_differences(said, found))


def _differences(one: Tally, other: Tally) -> tuple[str, str]:
    keys = [
        key
        for key in one.packets | other.packets
        if (one.packets[key], one.bytes[key]) != (other.packets[key], other.bytes[key])
    ]
    names = sorted(keys, key=str)
    first, second = (
        ", ".join(f"{kind} {name}: {each.packets[kind, name]} ({each.bytes[kind, name]} bytes)" for kind, name in names)
        for each in (one, other)
    )  # fmt: skip
    return first, second


def _watch(
    subject: Subject, packets: Sequence[Packet], indices: Sequence[int], redirects: Redirects
) -> Divergence | None:
    """Send some packets that were redirected once more, and look where they go."""
    for index in indices:
        frame = subject.frame(packets[index])
        expected = subject.expect(frame, 0)
        found = redirects.target(subject.program, frame)
        if expected.verdict == REDIRECT and found != expected.ifindex:
            return Divergence(index, "target", expected.outcome, str(expected.ifindex), str(found))
    return None
