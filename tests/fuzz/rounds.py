"""Rounds: a world drawn, packets drawn for it, both sides played. Everything follows from seed, program and number."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hatch_build import build_bpf
from tests.fuzz.agent_traffic import AgentTraffic
from tests.fuzz.cases import Case
from tests.fuzz.drawing import draw_agent, draw_node
from tests.fuzz.node_traffic import NodeTraffic
from tests.fuzz.shrinking import Shrinker
from tests.fuzz.workplace import Workplace, enclosed

PACKETS = 8000
"""Packets of a round."""
_AHEAD = 2
"""Rounds that wait for each process: enough that none is idle, few enough that a failure ends the run soon."""
_FOLDER = Path(__file__).resolve().parent

_place: Workplace | None = None
_enclosure: Any = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a run. `packets`: how many."""

    program: str
    seed: int
    number: int
    packets: int = PACKETS

    def draw(self) -> Case:
        """Return the world and the packets."""
        chance = Random(f"{self.seed}/{self.program}/{self.number}")
        if self.program == "node":
            node = draw_node(chance)
            return Case(self.program, node, tuple(NodeTraffic(node, chance).packets(self.packets)))
        agent = draw_agent(chance)
        return Case(self.program, agent, tuple(AgentTraffic(agent, chance).packets(self.packets)))


@dataclass(frozen=True, slots=True)
class Report:
    """What a round saw; `failure` is the case, made small, in which program and model part."""

    round: Round
    hits: Counter[str]
    failure: Case | None = None


def run_round(each: Round) -> Report:
    """Play a round in this enclosed process."""
    return play_round(place(), each)


def play_round(where: Workplace, each: Round, shrink: bool = True) -> Report:
    """Play a round at `where`."""
    case, hits = each.draw(), Counter[str]()
    found = where.trial(case.world, case.packets, hits)
    if found is None:
        return Report(each, hits)
    if not shrink:
        return Report(each, hits, Case(case.program, case.world, case.packets, str(found)))
    return Report(each, hits, Shrinker(where).shrink(case, found)[0])


def place() -> Workplace:
    """Return this process's workplace; only inside `workers`."""
    assert _place is not None
    return _place


def _enclose(directory: Path) -> None:
    global _place, _enclosure
    _enclosure = enclosed(directory)
    _place = _enclosure.__enter__()


@dataclass(slots=True)
class Workers:
    """Processes, each at a workplace of its own."""

    pool: ProcessPoolExecutor
    count: int
    waiting: dict[Future[Any], Any] = field(default_factory=dict)

    def map(self, work: Callable[[Any], Any], jobs: Iterator[Any]) -> Iterator[Any]:
        """Yield results as they come; who stops asking stops the work."""
        for job in jobs:
            self.waiting[self.pool.submit(work, job)] = job
            while len(self.waiting) >= _AHEAD * self.count:
                yield from self._done()
        while self.waiting:
            yield from self._done()

    def _done(self) -> Iterator[Any]:
        for future in wait(self.waiting, return_when=FIRST_COMPLETED).done:
            del self.waiting[future]
            yield future.result()


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Start processes; they end with the context, and whatever waits is forgotten."""
    build_bpf(_FOLDER)
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory(prefix="evenkeel-fuzz-") as name:
        pool = ProcessPoolExecutor(count, context, _enclose, (Path(name),))
        try:
            yield Workers(pool, count)
        finally:
            pool.shutdown(cancel_futures=True)
