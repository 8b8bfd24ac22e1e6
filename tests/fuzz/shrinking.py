"""Makes a failing case small: fewer packets, a poorer world, shorter packets, more zeros; each step still fails.

It fails "still" when the same kind of difference comes for the same outcome: else one fault would lead to another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from itertools import islice
from typing import Any

from lbnode.dataplane.errors import DataPlaneError
from tests.fuzz.cases import Case
from tests.fuzz.mutation import SMALLEST
from tests.fuzz.trial import Divergence
from tests.fuzz.workplace import Workplace
from tests.fuzz.worlds import Packet

PATIENCE_S = 60.0
"""How long one case is shrunk at most; on an idle machine a trial takes 10 ms."""
CHUNKS = (1024, 256, 64, 16, 4, 2, 1)
HEADERS = 120
"""Bytes among which lengths are looked for."""

Candidates = Callable[[Case], Iterator[Case]]
"""What may be tried next, in the place of a case."""


class Shrinker:
    """Tries smaller cases at a workplace until none fails, or patience ends."""

    def __init__(self, place: Workplace, patience_s: float = PATIENCE_S) -> None:
        self._place = place
        self._until = time.monotonic() + patience_s
        self._tried: set[Case] = set()

    def shrink(self, case: Case, found: Divergence) -> tuple[Case, Divergence]:
        """Return the smallest case found, and how program and model part in it."""
        found = self._place.locate(case.world, case.packets, found)
        case = replace(case, packets=case.packets[: found.index + 1])
        case = self._with_fewer_packets(case, found)
        before = None
        while case != before and self._is_patient():
            before = case
            case = self._descend(case, found, _poorer_worlds)
            case = self._descend(case, found, _smaller_packets)
        last = self._place.trial(case.world, case.packets)
        return replace(case, why=str(last)), last or found

    def _is_patient(self) -> bool:
        return time.monotonic() < self._until

    def _fails(self, case: Case, found: Divergence) -> bool:
        if case in self._tried:
            return False
        self._tried.add(case)
        try:
            now = self._place.trial(case.world, case.packets)
        except (DataPlaneError, OSError, AssertionError, LookupError, ValueError):
            return False
        return now is not None and (now.what, now.outcome) == (found.what, found.outcome)

    def _with_fewer_packets(self, case: Case, found: Divergence) -> Case:
        """Drop ever smaller runs of packets (Zeller, Hildebrandt: Simplifying failure-inducing input, 2002)."""
        alone = replace(case, packets=case.packets[-1:])
        if self._fails(alone, found):
            return alone
        size = len(case.packets) // 2
        while size and self._is_patient():
            for start in range(0, len(case.packets), size):
                fewer = replace(case, packets=case.packets[:start] + case.packets[start + size :])
                if fewer.packets and self._is_patient() and self._fails(fewer, found):
                    case = fewer
                    break
            else:
                size //= 2
        return case

    def _descend(self, case: Case, found: Divergence, candidates: Candidates) -> Case:
        """Take candidates that still fail, until there is none."""
        before = None
        while case != before and self._is_patient():
            before, case = case, self._pass_through(case, found, candidates)
        return case

    def _pass_through(self, case: Case, found: Divergence, candidates: Candidates) -> Case:
        """Go through the candidates once; what is left of them after a success is taken from the smaller case."""
        refused, remaining = 0, candidates(case)
        while self._is_patient() and (smaller := next(remaining, None)) is not None:
            if smaller != case and self._fails(smaller, found):
                case, remaining = smaller, islice(candidates(smaller), refused, None)
            else:
                refused += 1
        return case


def _poorer_worlds(case: Case) -> Iterator[Case]:
    for world in _poorer(case.world):
        yield replace(case, world=world)


def _poorer(value: Any) -> Iterator[Any]:
    """Yield values like this one with less in them: shorter tuples, fields at their defaults."""
    for each in fields(value):
        part = getattr(value, each.name)
        if each.default is not MISSING and part != each.default:
            yield replace(value, **{each.name: each.default})
        if isinstance(part, tuple):
            for smaller in _shorter(part):
                yield replace(value, **{each.name: smaller})


def _shorter(part: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for size in dict.fromkeys((len(part) // 2, 1)):
        if size:
            for start in range(0, len(part), size):
                yield part[:start] + part[start + size :]
    for index, each in enumerate(part):
        if is_dataclass(each):
            for poorer in _poorer(each):
                yield (*part[:index], poorer, *part[index + 1 :])


def _smaller_packets(case: Case) -> Iterator[Case]:
    for index, packet in enumerate(case.packets):
        for smaller in _smaller(packet):
            yield replace(case, packets=(*case.packets[:index], smaller, *case.packets[index + 1 :]))


def _smaller(packet: Packet) -> Iterator[Packet]:
    if packet.metadata:
        yield replace(packet, metadata=0)
    for index in range(len(packet.numbers)):
        yield replace(packet, numbers=packet.numbers[:index] + packet.numbers[index + 1 :])
    data = packet.data
    for size in CHUNKS:
        if len(data) - size >= SMALLEST:
            yield from (replace(packet, data=shorter) for shorter in _shorter_by(data, size))
            yield replace(packet, data=data[:-size])
    for size in CHUNKS:
        for start in range(0, len(data), size):
            part = data[start : start + size]
            if any(part):
                yield replace(packet, data=data[:start] + bytes(len(part)) + data[start + len(part) :])


def _shorter_by(data: bytes, size: int) -> Iterator[bytes]:
    """Take bytes off the end, and off one or all of what looks like the length of something that ends there."""
    places = [
        at
        for at in range(12, min(HEADERS, len(data) - size - 1))
        if max(size, len(data) - HEADERS) <= int.from_bytes(data[at : at + 2], "big") <= len(data)
    ]
    for chosen in (places, *([place] for place in places)):
        shorter = bytearray(data[:-size])
        for at in chosen:
            shorter[at : at + 2] = (int.from_bytes(data[at : at + 2], "big") - size).to_bytes(2, "big")
        yield bytes(shorter)
