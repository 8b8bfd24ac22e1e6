"""What `make test` asks of the fuzzer: a short run, every kept case, and that planted faults are found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import cases
from tests.fuzz.__main__ import IMPOSSIBLE, counters, rounds
from tests.fuzz.cases import Case
from tests.fuzz.drawing import draw_agent, draw_node
from tests.fuzz.faults import Fault, FaultError, Finding, hunt, hunt_all, plant
from tests.fuzz.node_traffic import NodeTraffic
from tests.fuzz.planted import FAULTS
from tests.fuzz.record import decode, encode
from tests.fuzz.rounds import Round, Workers, place, run_round, workers
from tests.fuzz.shrinking import Shrinker
from tests.fuzz.trial import Divergence
from tests.fuzz.worlds import AgentWorld, NodeWorld

SEED = 20261123
PACKETS = 100_000
LARGEST_HEADERS = 14 + 40 + 20
"""Ethernet, IPv6 and TCP: a packet that nothing can be taken off any more."""
PROGRAMS = sorted(IMPOSSIBLE)


@pytest.fixture(scope="module")
def processes() -> Iterator[Workers]:
    with workers(len(os.sched_getaffinity(0))) as started:
        yield started


@pytest.mark.timeout(400)
def test_programs_and_models_agree_and_every_counter_is_met(processes: Workers) -> None:
    hits = {program: Counter[str]() for program in PROGRAMS}
    for report in processes.map(run_round, rounds(PROGRAMS, SEED, PACKETS)):
        assert report.failure is None, f"{report.round}: {report.failure.why}: {report.failure}"
        hits[report.round.program] += report.hits
    least = PACKETS // 1000
    for program in PROGRAMS:
        rare = {name for name in counters(program) if hits[program][name] < least}
        assert rare == IMPOSSIBLE[program], {name: hits[program][name] for name in rare}


def replay(path: Path) -> Divergence | None:
    """Try a kept case, in a worker."""
    case = cases.read(path)
    return place().trial(case.world, case.packets)


def test_programs_and_models_agree_on_every_case_that_was_kept(processes: Workers) -> None:
    kept = list(cases.kept())
    assert kept
    assert [
        path.name for path, found in zip(kept, processes.pool.map(replay, kept), strict=True) if found
    ] == []


@pytest.mark.timeout(400)
def test_every_planted_fault_is_found(processes: Workers) -> None:
    assert len(FAULTS) >= 20
    assert [each.fault.name for each in hunt_all(processes, FAULTS) if not each.what] == []


STALE = Fault("stale", "node", "encap.h", "no such line", "nor this one")


def test_a_fault_that_no_longer_fits_the_c_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        FaultError, match=r"stale: encap.h has 'no such line' 0 times, not once: update the list"
    ):
        plant(STALE, tmp_path)


def test_without_a_fault_nothing_is_found(processes: Workers) -> None:
    sound = Fault("none", "node", "encap.h", "outer->ttl = HOPS;", "outer->ttl = HOPS; /* sound */")
    (found,) = processes.map(_hunt_briefly, iter((sound,)))
    assert found == Finding(sound, 8000)


def _hunt_briefly(fault: Fault) -> Finding:
    return hunt(fault, rounds=2)


def shrink_wrong_ttl(directory: Path) -> tuple[Case, Case]:
    """Find a planted fault in a round, in a worker; return the whole case and the one made small."""
    fault = Fault("ttl", "node", "encap.h", "outer->ttl = HOPS;", "outer->ttl = 63;")
    where = place().at(plant(fault, directory))
    case = Round("node", SEED, 1).draw()
    found = where.trial(case.world, case.packets)
    assert found is not None
    return case, Shrinker(where).shrink(case, found)[0]


def test_a_failure_is_made_small_and_kept(processes: Workers, tmp_path: Path) -> None:
    whole, small = processes.pool.submit(shrink_wrong_ttl, tmp_path / "fault").result()
    assert len(small.packets) == 1
    assert len(small.packets[0].data) <= LARGEST_HEADERS
    assert isinstance(small.world, NodeWorld)
    assert (len(small.world.vips), len(small.world.pools)) == (1, 1)
    assert len(whole.packets) > 1000
    path = cases.write(small, tmp_path / "kept")
    assert cases.read(path) == small
    assert processes.pool.submit(replay, path).result() is None


@pytest.mark.parametrize("seed", range(20))
def test_worlds_and_packets_survive_being_written_down(seed: int) -> None:
    chance = Random(seed)
    node, agent = draw_node(chance), draw_agent(chance)
    packets = tuple(NodeTraffic(node, chance).packets(20))
    assert decode(NodeWorld, encode(node)) == node
    assert decode(AgentWorld, encode(agent)) == agent
    assert [decode(type(each), encode(each)) for each in packets] == list(packets)
    assert decode(NodeWorld, encode(replace(node, sources=(ip_address("::1"),)))).sources == (
        ip_address("::1"),
    )


def test_a_round_follows_from_its_seed_alone() -> None:
    assert Round("agent", 5, 3, 50).draw() == Round("agent", 5, 3, 50).draw()
    assert Round("agent", 5, 3, 50).draw() != Round("agent", 5, 4, 50).draw()
