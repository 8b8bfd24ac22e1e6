"""Histories of one bucket, with nodes and agents that stopped hearing of it: who opens a flow finds it again.

A flow is opened by way of one node, and its next packet comes by way of another. Wherever the packets are passed on,
one backend that knows today's epoch is enough. If all on the way are cut off, nobody there can know of a newer owner
(docs/affinity.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lbnode.dataplane.backend_model import BackendModel
from tests.bpf.chance_fleet import ACK, NODE, SYN, VIP, address, fleet, holding, nothing, one_bucket
from tests.bpf.decap_frames import TCP, Wrapping, ipv4, ports

BACKENDS = (1, 2, 3)
"""As many as a list has places: no owner of the history is ever pushed out."""
ROUNDS = 2500
OLDEST = 10
"""The number of the first epoch."""

List = tuple[int, int, int]
"""Owner and alternates."""


@dataclass(frozen=True, slots=True)
class History:
    """`lists`: the bucket's, epoch by epoch. `known`: of which of them a backend knows last; `cut_off`: a node.

    Those that are `draining` or have `failed` do since the last epoch: only who knows that one behaves so.
    """

    lists: tuple[List, ...]
    known: dict[int, int]
    cut_off: int
    draining: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()

    @property
    def today(self) -> int:
        return len(self.lists) - 1

    def backends(self) -> dict[int, BackendModel]:
        tables = {each: one_bucket(OLDEST + last, self.lists[last]) for each, last in self.known.items()}
        knowing = {each for each, last in self.known.items() if last == self.today}
        leaves = self.draining | self.failed
        takes_new = {each for each in BACKENDS if each not in leaves & knowing}
        return fleet(tables, set(BACKENDS), takes_new, self.failed & knowing)


def histories(chance: random.Random, late_share: float) -> Iterator[History]:
    for _ in range(ROUNDS):
        owners = [chance.choice(BACKENDS) for _ in range(chance.randint(2, 6))]
        today = len(owners) - 1
        known = {b: chance.randrange(today) if chance.random() < late_share else today for b in BACKENDS}
        draining = frozenset(b for b in BACKENDS if b != owners[-1] and chance.random() < 0.3)
        yield History(tuple(lists_of(owners)), known, chance.randint(0, today), draining)


def lists_of(owners: list[int]) -> Iterator[List]:
    """Yield each epoch's owner and its two distinct predecessors, latest first."""
    for epoch in range(len(owners)):
        first, second, third, *_ = [*dict.fromkeys(reversed(owners[: epoch + 1])), 0, 0]
        yield first, second, third


def send(
    backends: dict[int, BackendModel], epoch: int, listed: List, flags: int, holder: int | None = None
) -> tuple[int, list[int]]:
    """Let a node send by an epoch; return where the packet is delivered, and by way of whom."""
    key = listed[1] << 16 | listed[2] if listed[1] and flags != SYN else None
    frame = Wrapping(NODE, address(listed[0]), OLDEST + epoch, 0, key).frame(
        ipv4(VIP, TCP, ports(80, flags=flags))
    )
    way: list[int] = []
    at: int | None = listed[0]
    while at is not None:
        way.append(at)
        result = backends[at].process(frame, holding if at == holder else nothing)
        frame, at = result.frame, result.backend
    assert result.outcome.startswith("delivered")
    return way[-1], way


def lost(history: History) -> Iterator[list[int]]:
    """Yield the ways of packets that did not find the flow which they belong to."""
    backends = history.backends()
    for opens in (history.today, history.cut_off):
        for goes_on in (history.today, history.cut_off):
            holder, _ = send(backends, opens, history.lists[opens], SYN)
            found, way = send(backends, goes_on, history.lists[goes_on], ACK, holder)
            if found != holder:
                yield way


def test_while_every_agent_hears_of_epochs_no_flow_is_lost_however_old_a_nodes_is() -> None:
    for history in histories(random.Random(1), late_share=0.0):
        assert list(lost(history)) == [], history


def test_one_agent_on_the_way_that_knows_todays_epoch_is_enough() -> None:
    hopeless = 0
    for history in histories(random.Random(2), late_share=0.4):
        for way in lost(history):
            assert all(history.known[each] < history.today for each in way), (history, way)
            hopeless += 1
    assert hopeless < 0.05 * 4 * ROUNDS


def refused(history: History) -> Iterator[list[int]]:
    """Yield the ways of new flows that end at a backend which has failed."""
    backends = history.backends()
    for opens in range(len(history.lists)):
        holder, way = send(backends, opens, history.lists[opens], SYN)
        if holder in history.failed:
            yield way


def test_no_new_flow_ends_at_a_failed_backend_that_knows_it_unless_two_before_did_not_know_the_owner() -> (
    None
):
    ended = 0
    for history in histories(random.Random(3), late_share=0.4):
        gone = next(b for b in BACKENDS if b != history.lists[-1][0])
        failing = replace(history, draining=frozenset(), failed=frozenset({gone}))
        for way in refused(failing):
            ended += 1
            knew = [failing.known[each] == failing.today for each in way]
            assert not any(knew) or knew == [False, False, True], (failing, way)
    assert ended
