"""The flow table: what the second chance does not cover stays with its backend over planned changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.libbpf import Map
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import Limits, PoolTable
from lbnode.model.ids import PoolName
from tests.bpf import flow_world as world
from tests.bpf import node_frames as frames
from tests.bpf.flow_world import (
    ACK,
    BY_SOURCE,
    BY_SOURCE_VIP,
    DNS,
    LIMITS,
    SYN,
    datagrams,
    destinations,
    fragment,
    keys,
    segments,
    table,
)
from tests.bpf.node_world import mounted
from tests.bpf.test_node_packets import assert_agree

FLOWS = 300


@pytest.fixture
def pins() -> Iterator[Path]:
    with mounted() as directory:
        yield directory


@pytest.fixture
def node(pins: Path) -> Iterator[NodeDataPlane]:
    with NodeDataPlane.open(pins, LIMITS) as opened:
        yield opened


def is_recording(node: NodeDataPlane) -> bool:
    return node.tables()[DNS].recording


def test_udp_flows_stay_over_a_planned_change_and_new_ones_go_to_the_owner(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,), (2,)]))
    before = destinations(node, datagrams(FLOWS))
    node.stage(table(2, [(3, 1), (2,)]))
    assert is_recording(node)
    assert destinations(node, datagrams(FLOWS)) == before
    node.switch(DNS)
    assert not is_recording(node)
    assert destinations(node, datagrams(FLOWS)) == before
    assert set(destinations(node, datagrams(FLOWS, seed=2))) == {2, 3}
    counted = node.counters()
    assert counted["flow_recorded"].packets == counted["flow_kept"].packets == before.count(1) > FLOWS / 3


def test_without_a_flow_table_they_move(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,), (2,)], flow_table=False))
    node.stage(table(2, [(3, 1), (2,)], flow_table=False))
    assert not is_recording(node)
    destinations(node, datagrams(FLOWS))
    node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {2, 3}


def test_udp_flows_that_were_idle_all_the_while_go_to_the_owner(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    destinations(node, datagrams(FLOWS))
    node.stage(table(2, [(3, 1)]))
    node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {3}


def test_udp_flows_of_two_earlier_owners_stay(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    for epoch, buckets, seed in ((2, [(2, 1)], 1), (3, [(3, 2, 1)], 2)):
        node.stage(table(epoch, buckets))
        destinations(node, datagrams(FLOWS, seed))
        node.switch(DNS)
    assert [set(destinations(node, datagrams(FLOWS, seed))) for seed in (1, 2, 3)] == [{1}, {2}, {3}]


def test_udp_does_not_stay_with_a_failed_backend(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,), (2,)]))
    node.stage(table(2, [(3, 1), (3, 2)]))
    before = destinations(node, datagrams(FLOWS))
    node.switch(DNS)
    node.stage(table(3, [(3, 1), (3, 2)], failed=[1]))
    node.switch(DNS)
    assert destinations(node, datagrams(FLOWS)) == [{1: 3, 2: 2}[backend] for backend in before]


def test_udp_does_not_stay_with_a_failed_second_alternate(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    node.stage(table(2, [(2, 1)]))
    destinations(node, datagrams(FLOWS))
    node.switch(DNS)
    node.stage(table(3, [(3, 2, 1)], failed=[1]))
    node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {3}


def test_a_flow_does_not_stay_with_a_backend_that_its_bucket_lists_no_more(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    node.stage(table(2, [(2, 1)]))
    destinations(node, datagrams(FLOWS))
    node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {1}
    node.stage(table(3, [(3, 2)]))
    assert set(destinations(node, datagrams(FLOWS))) == {1}
    node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {3}


def test_an_outdated_record_is_overwritten_while_recording(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    for epoch, buckets in ((2, [(2, 1)]), (3, [(2,)]), (4, [(3, 2)])):
        node.stage(table(epoch, buckets))
        destinations(node, datagrams(FLOWS))
        node.switch(DNS)
    assert set(destinations(node, datagrams(FLOWS))) == {2}


def test_tcp_without_agent_stays_recorded_or_not_and_new_flows_go_to_the_owner(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(11,)]))
    node.stage(table(2, [(12, 11)]))
    node.switch(DNS)
    assert set(destinations(node, segments(FLOWS, SYN, seed=2))) == {12}
    assert set(destinations(node, segments(FLOWS, ACK, seed=2))) == {12}
    assert set(destinations(node, segments(FLOWS, ACK, seed=1))) == {11}
    assert node.counters()["flow_opened"].packets == FLOWS
    assert node.counters()["flow_recorded"].packets == 2 * FLOWS
    node.stage(table(3, [(13, 12, 11)]))
    node.switch(DNS)
    assert set(destinations(node, segments(FLOWS, ACK, seed=1))) == {11}
    assert set(destinations(node, segments(FLOWS, ACK, seed=2))) == {12}
    assert set(destinations(node, segments(FLOWS, SYN, seed=3))) == {13}


def test_a_port_that_a_client_uses_again_begins_a_new_flow(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(12, 11)]))
    assert set(destinations(node, segments(FLOWS, ACK))) == {11}
    assert set(destinations(node, segments(FLOWS, SYN))) == {12}
    assert set(destinations(node, segments(FLOWS, ACK))) == {12}


def test_tcp_whose_owner_has_the_agent_is_left_to_the_second_chance(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1, 11)]))
    assert set(keys(node, segments(FLOWS, ACK))) == {(11, 0)}
    assert not any(node.counters()[name].packets for name in ("flow_opened", "flow_recorded", "flow_kept"))


def test_tcp_that_nobody_could_pass_on_to_stays_where_it_was_seen_and_the_rest_is_the_owners(
    node: NodeDataPlane,
) -> None:
    """The owner has the agent, its first alternate has not: the second chance ends there."""
    world.fill(node, table(1, [(12, 11)]))
    assert set(destinations(node, segments(FLOWS, ACK, seed=1))) == {11}
    node.stage(table(2, [(1, 12, 11)]))
    node.switch(DNS)
    assert set(destinations(node, segments(FLOWS, ACK, seed=1))) == {11}
    assert set(destinations(node, segments(FLOWS, SYN, seed=2))) == {1}
    assert set(destinations(node, segments(FLOWS, ACK, seed=2))) == {1}
    assert set(keys(node, segments(FLOWS, ACK, seed=3))) == {(12, 11)}
    assert set(destinations(node, segments(FLOWS, ACK, seed=3))) == {1}


def test_an_agent_that_is_guessed_to_hold_a_flow_can_pass_it_on_to_all_others(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(11, 1, 2)]))
    assert set(destinations(node, segments(FLOWS, ACK))) == {1}
    assert set(keys(node, segments(FLOWS, ACK))) == {(2, 11)}


def test_a_flood_of_syns_pushes_out_no_flow_and_its_part_stays_bounded(
    pins: Path, node: NodeDataPlane
) -> None:
    world.fill(node, table(1, [(12, 11)]))
    destinations(node, segments(FLOWS, SYN))
    assert set(destinations(node, segments(FLOWS, ACK))) == {12}
    destinations(node, segments(5 * LIMITS.new_flows, SYN, seed=2))
    assert set(destinations(node, segments(FLOWS, ACK))) == {12}
    opened = Map.open_pinned(pins / "node" / "new_flows")
    assert 0 < len(opened.keys()) <= LIMITS.new_flows
    opened.close()


def test_a_table_staged_over_another_records_its_own_buckets(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,), (2,)]))
    node.stage(table(2, [(3, 1), (2,)]))
    node.stage(table(3, [(1,), (3, 2)]))
    before = destinations(node, datagrams(FLOWS))
    assert node.counters()["flow_recorded"].packets == before.count(2)
    node.stage(table(4, [(1,), (2,)]))
    destinations(node, datagrams(FLOWS, seed=2))
    assert node.counters()["flow_recorded"].packets == before.count(2)


def test_recording_goes_on_without_the_daemon(pins: Path, node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)]))
    node.stage(table(2, [(2, 1)]))
    with NodeDataPlane.open(pins, LIMITS) as adopted:
        assert is_recording(adopted)
        destinations(adopted, datagrams(FLOWS))
        adopted.switch(DNS)
        assert set(destinations(adopted, datagrams(FLOWS))) == {1}


def test_fragments_stay_where_their_client_is(node: NodeDataPlane) -> None:
    world.fill(node, table(1, [(1,)], BY_SOURCE))
    node.stage(table(2, [(2, 1)], BY_SOURCE))
    sent = datagrams(FLOWS, vip=BY_SOURCE_VIP)
    destinations(node, sent)
    node.switch(BY_SOURCE)
    assert set(destinations(node, map(fragment, sent))) == {1}


@pytest.mark.parametrize(("name", "limits"), [("flows", Limits(flows=0)), ("new_flows", Limits(new_flows=0))])
def test_a_flow_table_without_room_is_refused(pins: Path, name: str, limits: Limits) -> None:
    with pytest.raises(DataPlaneError, match=f"{name}: 0: must be at least 1"):
        NodeDataPlane.open(pins, limits)


MIXED = [
    (1,),
    (11,),
    (2, 1),
    (11, 1),
    (12, 11),
    (3, 2, 1),
    (12, 2, 11),
    (1, 11),
    (0, 1),
    (99, 11),
    (11, 0, 0),
]
CHANGED = [
    (2, 1),
    (12, 11),
    (2, 1),
    (11, 1),
    (13, 12, 11),
    (1, 3, 2),
    (1, 12, 2),
    (11, 1),
    (1,),
    (1, 99),
    (12, 99),
]


def test_kernel_and_model_agree_before_and_after_a_change(node: NodeDataPlane) -> None:
    first = [table(1, MIXED), table(1, MIXED, BY_SOURCE)]
    second = [table(2, CHANGED, failed=[2]), table(2, CHANGED, BY_SOURCE)]
    world.fill(node, *first)
    model = world.make_model(*first)
    sent = [
        *frames.proper(), *frames.odd(), *datagrams(FLOWS), *datagrams(FLOWS, vip=BY_SOURCE_VIP),
        *segments(FLOWS // 2, SYN), *segments(FLOWS, ACK),
    ]  # fmt: skip
    assert_agree(node, model, sent)
    for each in second:
        node.stage(each)
    recorded = {new.pool: new.owners != old.owners for new, old in zip(second, first, strict=True)}
    met = assert_agree(node, replace(model, recorded=recorded), sent)
    for each in second:
        node.switch(each.pool)
    changed = replace(model, tables=second)
    met += assert_agree(node, changed, sent)
    met += assert_agree(node, changed, [*segments(FLOWS, SYN, 2), *segments(FLOWS, ACK, 2), *sent])
    assert min(met[name] for name in ("flow_recorded", "flow_opened", "flow_kept", "forwarded_keyed")) > 50


@pytest.mark.parametrize("seed", range(5))
def test_kernel_and_model_agree_over_a_life_of_changes(node: NodeDataPlane, seed: int) -> None:
    """Forty changes at random, some staged twice, with packets of the same flows before, while and after."""
    chance = random.Random(seed)
    packets = [
        *datagrams(60, seed), *datagrams(60, seed, BY_SOURCE_VIP),
        *segments(60, SYN, seed), *segments(60, ACK, seed), *segments(60, ACK, seed),
    ]  # fmt: skip
    current = {pool: _chance_table(chance, 1, pool) for pool in (DNS, BY_SOURCE)}
    world.fill(node, *current.values())
    model = world.make_model()
    for epoch in range(2, 42):
        pool = chance.choice(list(current))
        for _ in range(chance.choice([1, 1, 2])):
            staged = _chance_table(chance, epoch, pool)
            node.stage(staged)
        recorded = {pool: staged.owners != current[pool].owners} if staged.flow_table else {}
        before = replace(model, tables=list(current.values()), recorded=recorded)
        assert_agree(node, before, chance.choices(packets, k=40))
        node.switch(pool)
        current[pool] = staged
        assert_agree(node, replace(model, tables=list(current.values())), chance.choices(packets, k=40))


def _chance_table(chance: random.Random, epoch: int, pool: PoolName) -> PoolTable:
    ids = [backend.id for backend in world.BACKENDS]
    buckets = [chance.sample(ids, chance.randint(1, 3)) for _ in range(7)]
    return table(epoch, buckets, pool, chance.random() < 0.9, chance.sample(ids, chance.choice([0, 0, 1])))
