"""Packets that try to circle: several backends with tables that contradict each other, and nobody holds the flow."""

from __future__ import annotations

import random

import pytest

from lbnode.model.epoch import stamp_of
from lbnode.model.ids import EpochNumber
from tests.bpf.chance_fleet import (
    ACK,
    NODE,
    SYN,
    VIP,
    address,
    fleet,
    holding,
    lose,
    nothing,
    one_bucket,
    travel,
)
from tests.bpf.decap_frames import MARKED, SETTLED, TCP, Wrapping, ipv4, ports

ROUNDS = 4000
MOST_VISITS = 7
MOST_IN_SYNC = 3


def three_of(choices: list[int], chance: random.Random) -> tuple[int, int, int]:
    owner, first, second = chance.choices(choices, k=3)
    return owner, first, second


@pytest.mark.parametrize("flags", [SYN, ACK])
def test_whatever_the_tables_say_a_packet_visits_at_most_seven_backends(flags: int) -> None:
    chance = random.Random(20261123)
    longest = 0
    for _ in range(ROUNDS):
        numbers = list(range(1, chance.randint(3, 9)))
        choices = [0, *numbers]
        tables = {n: one_bucket(chance.randint(1, 6), three_of(choices, chance)) for n in numbers}
        agents = {n for n in numbers if chance.random() < 0.9} | {1}
        backends = fleet(tables, agents, {n for n in numbers if chance.random() < 0.5})
        for here in numbers:
            lose(backends, here, chance.choice(numbers))
        key = chance.choice([None, chance.choice(choices) << 16 | chance.choice(choices)])
        tunnel = Wrapping(NODE, address(1), chance.randint(1, 6), chance.choice([0, 0, MARKED, SETTLED]), key)
        frame = tunnel.frame(ipv4(VIP, TCP, ports(80, flags=flags)))
        results = travel(backends, agents, frame, 1)
        assert len(results) <= MOST_VISITS
        assert [result.outcome for result in results[:-1]] == [
            result.outcome for result in results if result.backend in agents
        ]
        longest = max(longest, len(results))
    assert longest == (MOST_VISITS if flags == ACK else 3), "the search did not try hard enough"


def test_while_all_go_by_one_epoch_a_packet_visits_at_most_three() -> None:
    chance = random.Random(7)
    longest = 0
    for _ in range(ROUNDS):
        owner, first, second = chance.sample(range(1, 6), 3)
        tables = dict.fromkeys(range(1, 6), one_bucket(5, (owner, first, second)))
        backends = fleet(tables, set(tables), set(tables))
        tunnel = Wrapping(NODE, address(owner), 5, 0, first << 16 | second)
        results = travel(backends, set(tables), tunnel.frame(ipv4(VIP, TCP, ports(80))), owner)
        longest = max(longest, len(results))
        assert {result.seen for result in results[1:]} == {("extra_hop",)}
    assert longest == MOST_IN_SYNC


def test_a_flow_is_found_wherever_the_list_has_it() -> None:
    for holder in (1, 2, 3):
        tables = dict.fromkeys((1, 2, 3), one_bucket(5, (1, 2, 3)))
        backends = fleet(tables, {1, 2, 3}, {1})
        frame = Wrapping(NODE, address(1), 5, 0, 2 << 16 | 3).frame(ipv4(VIP, TCP, ports(80)))
        at: int | None = 1
        while at is not None:
            here = at
            result = backends[here].process(frame, holding if here == holder else nothing)
            frame, at = result.frame, result.backend
        assert here == holder
        assert result.outcome == ("delivered_in_sync" if holder == 3 else "delivered_held")


def test_a_flow_is_found_by_way_of_the_next_when_no_way_is_known_to_its_holder() -> None:
    backends = fleet(dict.fromkeys((1, 2, 3), one_bucket(5, (1, 2, 3))), {1, 2, 3}, {1})
    lose(backends, 1, 2)
    frame = Wrapping(NODE, address(1), 5, 0, 2 << 16 | 3).frame(ipv4(VIP, TCP, ports(80)))
    assert [(result.outcome, result.backend) for result in travel(backends, {1, 3}, frame, 1)] == [
        ("forwarded_keyed", 3),
        ("forwarded_keyless", 2),
    ]


@pytest.mark.parametrize("key", [2 << 16 | 3, 3 << 16 | 2])
def test_nobody_answers_for_one_whom_nobody_can_ask(key: int) -> None:
    backends = fleet(dict.fromkeys((1, 2, 3), one_bucket(5, (1, 2, 3))), {1, 2, 3}, {1})
    lose(backends, 1, 2)
    lose(backends, 3, 2)
    frame = Wrapping(NODE, address(1), 5, 0, key).frame(ipv4(VIP, TCP, ports(80)))
    assert [result.outcome for result in travel(backends, {1, 2, 3}, frame, 1)] == [
        "forwarded_keyed",
        "drop_no_next_hop",
    ]


def test_a_node_that_is_behind_costs_one_restart_and_finds_the_flow() -> None:
    """The node goes by an epoch in which 3 owned all; since then 1 became the owner, and holds the flow."""
    tables = dict.fromkeys((1, 2, 3), one_bucket(9, (1, 2, 3)))
    backends = fleet(tables, {1, 2, 3}, {1, 2})
    frame = Wrapping(NODE, address(3), 8).frame(ipv4(VIP, TCP, ports(80)))
    first = backends[3].process(frame)
    assert (first.outcome, first.backend) == ("forwarded_restarted", 1)
    assert backends[1].process(first.frame, holding).outcome == "delivered_held"


def test_new_flows_do_not_end_at_a_failed_backend_because_one_that_is_behind_passed_them_on() -> None:
    """1 goes by an epoch in which 2 was the owner; 2 has failed since, and knows: 1 owns them now."""
    tables = {1: one_bucket(8, (2, 1, 0)), 2: one_bucket(9, (1, 2, 0))}
    backends = fleet(tables, {1, 2}, {1}, failed={2})
    frame = Wrapping(NODE, address(1), 5).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
    assert [(result.outcome, result.backend) for result in travel(backends, {1, 2}, frame, 1)] == [
        ("forwarded_syn", 2),
        ("forwarded_syn", 1),
        ("delivered_syn", None),
    ]


def test_backends_that_drain_hand_new_flows_to_their_owners_twice_at_most() -> None:
    tables = {1: one_bucket(9, (2, 1, 0)), 2: one_bucket(9, (1, 2, 0))}
    backends = fleet(tables, {1, 2}, set())
    frame = Wrapping(NODE, address(1), 8).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
    results = travel(backends, {1, 2}, frame, 1)
    assert [result.outcome for result in results] == ["forwarded_syn", "forwarded_syn", "delivered_syn"]


def test_a_new_flow_that_an_outdated_backend_passed_on_goes_on_to_todays_owner() -> None:
    """The node's owner was 1; by the epoch that 1 still has it is 2; 2 drains by now, and knows that it is 3."""
    tables = {1: one_bucket(7, (2, 1, 0)), 2: one_bucket(9, (3, 2, 1)), 3: one_bucket(9, (3, 2, 1))}
    backends = fleet(tables, {1, 2, 3}, {1, 3})
    frame = Wrapping(NODE, address(1), 5).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
    results = travel(backends, {1, 2, 3}, frame, 1)
    assert [(result.outcome, result.backend) for result in results] == [
        ("forwarded_syn", 2),
        ("forwarded_syn", 3),
        ("delivered_syn", None),
    ]


def test_while_an_epoch_is_on_offer_new_flows_stay_where_the_current_one_has_them() -> None:
    """1 has loaded epoch 9, in which 2 is the owner; 3, the last on the list of epoch 8, has not."""
    tables = {1: one_bucket(9, (2, 1, 3)), 2: one_bucket(9, (2, 1, 3)), 3: one_bucket(8, (1, 3, 0))}
    backends = fleet(tables, {1, 2, 3}, {1, 2, 3})
    opening = Wrapping(NODE, address(1), 8).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
    assert backends[1].process(opening).outcome == "delivered_syn"


def test_a_list_of_a_local_view_is_followed_to_its_end_and_then_the_fleets_owner_is_asked() -> None:
    """A node on its own holds 3 for failed and sends to 1; by the same epoch 3 is the owner, and holds the flow."""
    tables = dict.fromkeys((1, 2, 3), one_bucket(9, (3, 0, 0)))
    backends = fleet(tables, {1, 2, 3}, {1, 2, 3})
    local = stamp_of(EpochNumber(9), local=True)
    frame = Wrapping(NODE, address(1), local, 0, 2 << 16).frame(ipv4(VIP, TCP, ports(80)))
    assert [result.outcome for result in travel(backends, {1, 2}, frame, 1)] == [
        "forwarded_keyless",
        "forwarded_restarted",
    ]


def test_a_new_flow_of_a_local_view_stays_where_it_was_sent_unless_the_backend_knows_a_newer_epoch() -> None:
    for newest, outcome in ((9, "delivered_syn"), (10, "delivered_syn"), (11, "forwarded_syn")):
        tables = dict.fromkeys((1, 3), one_bucket(newest, (3, 0, 0)))
        local = stamp_of(EpochNumber(9), local=True)
        frame = Wrapping(NODE, address(1), local).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
        assert fleet(tables, {1, 3}, {1, 3})[1].process(frame).outcome == outcome


def test_what_is_passed_on_along_a_list_carries_its_stamp_my_address_and_the_packet_unchanged() -> None:
    tables = {1: one_bucket(0x10009, (1, 2, 3)), 2: one_bucket(9, (1, 2, 3)), 3: one_bucket(9, (1, 2, 3))}
    inner = ipv4(VIP, TCP, ports(80))
    backends = fleet(tables, {1, 2, 3}, {1})
    frame = Wrapping(NODE, address(1), 8, 0, 2 << 16 | 3).frame(inner)
    result = backends[1].process(frame)
    sent = Wrapping(address(1), address(2), 8, 0, 3).frame(inner)
    assert result.frame[14:24] == sent[14:24]
    assert result.frame[26:38] == sent[26:38]
    assert result.frame[42:] == inner


def test_what_starts_anew_carries_my_epoch_and_the_mark() -> None:
    tables = {1: one_bucket(0x10009, (2, 1, 3)), 2: one_bucket(9, (2, 1, 3)), 3: one_bucket(9, (2, 1, 3))}
    inner = ipv4(VIP, TCP, ports(80))
    result = fleet(tables, {1, 2, 3}, {1})[1].process(Wrapping(NODE, address(1), 8).frame(inner))
    assert result.outcome == "forwarded_restarted"
    assert result.frame[14:24] == Wrapping(address(1), address(2), 9, MARKED, 3).frame(inner)[14:24]


def test_a_list_that_is_old_is_followed_to_its_end_and_then_todays_owner_is_asked() -> None:
    """A node that is behind asks 1, then 2; since then 3 became the owner, and holds the flow."""
    tables = dict.fromkeys((1, 2, 3), one_bucket(9, (3, 0, 0)))
    backends = fleet(tables, {1, 2, 3}, {1, 2, 3})
    frame = Wrapping(NODE, address(1), 8, 0, 2 << 16).frame(ipv4(VIP, TCP, ports(80)))
    outcomes = []
    at: int | None = 1
    while at is not None:
        here = at
        result = backends[here].process(frame, holding if here == 3 else nothing)
        outcomes.append((here, result.outcome))
        frame, at = result.frame, result.backend
    assert outcomes == [(1, "forwarded_keyed"), (2, "forwarded_keyless"), (3, "delivered_held")]


def test_todays_owner_who_was_added_to_a_list_asks_both_its_alternates() -> None:
    """A node that is behind sends to 1, then 2; 5 holds the flow, 3 and then 4 became the owner since."""
    tables = dict.fromkeys(range(1, 6), one_bucket(9, (4, 3, 5)))
    backends = fleet(tables, set(tables), set(tables))
    frame = Wrapping(NODE, address(1), 2, 0, 2 << 16).frame(ipv4(VIP, TCP, ports(80)))
    assert [result.backend for result in travel(backends, {1, 2, 3, 4}, frame, 1)] == [2, 4, 3, 5]


@pytest.mark.parametrize("behind", [2, 3])
def test_a_flow_is_found_though_the_last_on_the_list_of_a_node_that_is_behind_is_behind_itself(
    behind: int,
) -> None:
    """1 passed the new flow on to 4, its owner today; of 2 and 3, whom the node's list has, one knows no more than
    the node.
    """
    tables = dict.fromkeys((1, 2, 3, 4), one_bucket(9, (4, 1, 0)))
    tables[behind] = one_bucket(5, (1, 2, 3))
    backends = fleet(tables, set(tables), set(tables))
    opening = Wrapping(NODE, address(1), 5).frame(ipv4(VIP, TCP, ports(80, flags=SYN)))
    assert backends[1].process(opening).backend == 4
    frame = Wrapping(NODE, address(1), 5, 0, 2 << 16 | 3).frame(ipv4(VIP, TCP, ports(80)))
    at: int | None = 1
    while at not in (4, None):
        result = backends[at].process(frame)
        frame, at = result.frame, result.backend
    assert at == 4, result.outcome
