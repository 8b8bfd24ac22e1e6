"""The simulation: that it measures what it says, and what evenkeel promises of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.admission import judge, pushed_out
from ring.simulate.__main__ import main
from ring.simulate.lists import first_lists
from ring.simulate.run import new_pool, run
from ring.simulate.scenarios import (
    SCENARIOS,
    Change,
    Kind,
    after,
    equal_lineup,
    mixed,
    rolling_restart,
    scale_out,
)
from ring.simulate.tables import RULES, Rule, home_and_failover, minimal_stateful
from ring.slots import Lineup, Slot
from ring.table import build
from tests.unit.ring.pools import pools

SIZE = 1021


def slots_of(lineup: Lineup) -> list[Slot]:
    columns = (lineup.numbers, lineup.weights, lineup.backends, lineup.serving.astype(bool))
    return [Slot(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def test_lists_are_those_of_the_tables() -> None:
    """The simulation moves owners to the front; the tables replay epochs: owner and alternates are the same."""
    scenario = mixed(seed=3, births=1)
    pool = new_pool(SIZE, 3, home_and_failover, equal_lineup(scenario.backends))
    history: list[list[Slot]] = []
    for change in scenario.changes:
        history.append(slots_of(pool.lineup))
        pool = pool.with_lineup(after(pool.lineup, change))
        table = build(SIZE, 3, slots_of(pool.lineup), history)
        for rank, column in enumerate((table.owners, table.first, table.second)):
            assert np.array_equal(pool.lists.ranks[rank], column)


def test_a_flow_is_outside_exactly_where_admission_says_so() -> None:
    """The simulation's leader looks at flows, the fleet's at reports by bucket: both count the same."""
    lineup = equal_lineup(6)
    pool, history = new_pool(SIZE, 1, home_and_failover, lineup), [slots_of(lineup)]
    for slot in (0, 1):
        pool = pool.with_lineup(after(pool.lineup, Change(0, Kind.OUT, slot)))
        history.append(slots_of(pool.lineup))
    third = pool.with_lineup(after(pool.lineup, Change(0, Kind.OUT, 2)))
    one_everywhere = {backend: np.ones(SIZE, dtype=np.int64) for backend in range(1, 7)}
    holding = judge(pushed_out(SIZE, 1, history, slots_of(third.lineup), range(1, 7)), one_everywhere)
    buckets = np.arange(SIZE)
    outside = {}
    for backend in range(1, 7):
        owned = np.any([build(SIZE, 1, epoch).owners == backend for epoch in history], axis=0)
        places = third.lists.places(buckets[owned], np.full(owned.sum(), backend, dtype=np.uint16))
        outside[backend] = int(np.count_nonzero(places > 2))
    assert holding == {backend: count for backend, count in outside.items() if count}
    assert holding


def test_an_owner_that_comes_back_leaves_its_deeper_place() -> None:
    owners = np.array([1, 1], dtype=np.uint16)
    lists = first_lists(owners)
    for turn in ([2, 1], [3, 1], [1, 4]):
        lists = lists.after(np.array(turn, dtype=np.uint16))
    assert lists.ranks[:4].T.tolist() == [[1, 3, 2, 0], [4, 1, 0, 0]]


@given(slots=pools(least=2, most=8, weight=st.integers(1, 9)), data=st.data())
@settings(max_examples=50)
def test_the_minimal_table_moves_no_bucket_that_it_need_not(slots: list[Slot], data: st.DataObject) -> None:
    lineup = equal_lineup(len(slots))
    before = minimal_stateful(251, 1, lineup)
    down = data.draw(st.integers(0, len(slots) - 1))
    changed = after(lineup, Change(0, Kind.OUT, down))
    servers = minimal_stateful(251, 1, changed, before)
    counts = np.bincount(servers, minlength=len(slots))
    assert counts[down] == 0
    assert counts.sum() == 251
    assert np.ptp(np.delete(counts, down)) <= 1
    gained = np.maximum(counts - np.bincount(before, minlength=len(slots)), 0)
    assert np.count_nonzero(servers != before) == gained.sum()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_serves_only_from_slots_in_service(rule: Rule) -> None:
    for make in SCENARIOS.values():
        scenario = make(2, 1)
        pool = new_pool(251, 2, rule, equal_lineup(scenario.backends))
        for change in scenario.changes:
            pool = pool.with_lineup(after(pool.lineup, change))
            assert pool.lineup.serving[pool.servers].all()


def test_a_rolling_restart_loses_a_tenth_without_alternates_and_none_with_one() -> None:
    """What design.md §3 says of this table, at a thousandth of the size."""
    outcome = run(rolling_restart(1, births=200), home_and_failover, 4093, 1)
    assert 0.08 < outcome.lost[0] / outcome.flows < 0.11
    assert outcome.lost[1:] == (0, 0)
    assert outcome.depth == 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_admission_no_planned_change_loses_a_flow(name: str) -> None:
    outcome = run(SCENARIOS[name](1, 20), home_and_failover, SIZE, 1, admission=2)
    assert outcome.lost[2] == 0
    assert outcome.never == 0


def test_mixed_changes_lose_flows_unless_they_wait() -> None:
    free = run(mixed(1, births=100), home_and_failover, SIZE, 1)
    held = run(mixed(1, births=100), home_and_failover, SIZE, 1, admission=2)
    assert free.lost[2] > 0
    assert free.waits == (0,) * 60
    assert held.lost[2] == 0
    assert max(held.waits) > 0
    assert held.longer > 0


def test_growth_in_one_epoch_waits_for_nobody() -> None:
    """It moves each bucket once, and so takes one place in a list, however many backends are added."""
    singly, together = (
        run(scale_out(1, 20, batch=batch), home_and_failover, SIZE, 1, admission=2) for batch in (1, 50)
    )
    assert singly.longer > 0
    assert together.longer == 0
    assert together.lost[2] == 0


def test_without_alternates_nothing_that_moves_a_bucket_is_ever_admitted() -> None:
    outcome = run(rolling_restart(1, births=20, backends=5, life=2), home_and_failover, SIZE, 1, admission=0)
    assert outcome.never == 10
    assert outcome.lost[0] == 0


def test_a_seed_reproduces_its_run() -> None:
    runs = [run(mixed(seed, births=20), home_and_failover, SIZE, seed, admission=1) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_the_command_prints_tables_and_json_of_the_same_study(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--seeds", "1", "--size", "251", "--births", "5", "--scenario", "flapping"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "flapping (40 steps, a flow lives 10" in text
    assert text.count("| home + failover |") == 4
    assert main([*arguments, "--json"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert study["report"] == text.rstrip("\n")
    assert len(study["rows"]) == 16
