"""What happens in a churn drill: reproducible, varied, and never more than a fleet can take."""

from __future__ import annotations

from collections import Counter

import pytest

from lbnode.lab.churn.schedule import (
    AT_MOST,
    MOVES_NODES,
    OF_NODES,
    OUT_OF_NODES,
    Kind,
    Planned,
    plan,
)

NODES = ["n1", "n2", "n3", "n4"]
BACKENDS = ["b1", "b2", "b3", "b4", "b5", "b6"]
SEEDS = range(20)


def planned(seed: int, count: int = 60, isolated: str = "n4") -> tuple[Planned, ...]:
    return plan(seed, count, 4.0, NODES, BACKENDS, isolated)


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_happens_and_none_too_often(seed: int) -> None:
    kinds = Counter(each.kind for each in planned(seed))

    assert kinds.total() == 60
    assert sum(kinds[kind] for kind in MOVES_NODES) >= 13
    assert set(kinds) == set(Kind)
    assert all(kinds[kind] <= most for kind, most in AT_MOST.items())


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_befalls_the_isolated_node(seed: int) -> None:
    assert all("n4" not in each.targets for each in planned(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_hosts_are_not_there_before_they_were_added_nor_after_they_were_replaced(seed: int) -> None:
    there = {*NODES, *BACKENDS}
    for each in planned(seed):
        if each.kind in (Kind.ADD_NODE, Kind.ADD_BACKEND):
            assert not there.intersection(each.targets)
        elif each.kind is Kind.REPLACE_BACKEND:
            assert each.targets[0] in there
            assert each.targets[1] not in there
            there.discard(each.targets[0])
        elif each.kind in OF_NODES:
            assert there.issuperset(each.targets)
        if each.kind in (Kind.ADD_NODE, Kind.ADD_BACKEND, Kind.REPLACE_BACKEND):
            there.add(each.targets[-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_at_most_two_nodes_are_out_together_and_at_most_one_is_cut(seed: int) -> None:
    events = [each for each in planned(seed) if each.kind in OUT_OF_NODES]
    for each in events:
        out = [o for o in events if o.at_s <= each.at_s < o.at_s + o.hold_s]
        assert len(out) <= 2
        assert sum(o.kind is Kind.CUT_NODE for o in out) <= 1


def test_a_change_of_weight_changes_it() -> None:
    for seed in SEEDS:
        weights = dict.fromkeys(BACKENDS, 1)
        for each in planned(seed):
            if each.kind is Kind.WEIGHT:
                assert weights.get(each.targets[0], 1) != each.weight
                weights[each.targets[0]] = each.weight


def test_a_short_drill_has_as_many_events_as_were_asked_for() -> None:
    assert [each.number for each in planned(1, count=5)] == [1, 2, 3, 4, 5]


def test_only_what_may_happen_happens() -> None:
    events = plan(1, 12, 4.0, NODES, BACKENDS, "n4", [Kind.DRAIN_NODE, Kind.WEIGHT])

    assert {each.kind for each in events} == {Kind.DRAIN_NODE, Kind.WEIGHT}
