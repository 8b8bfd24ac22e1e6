"""Which tables a backend goes by: the newest that it can trust."""

from __future__ import annotations

from dataclasses import replace

from lbnode.backend.loading import DropPool, Loading, LoadTable
from lbnode.model.fleet import QuicIds
from lbnode.model.ids import EpochNumber
from tests.unit.backend.fleets import ID1, ID2, WEB, epoch, view

POOLS = {WEB}


def numbers(commands: list[LoadTable | DropPool]) -> list[int]:
    return [command.epoch.number for command in commands if isinstance(command, LoadTable)]


def test_an_epoch_is_loaded_as_soon_as_it_is_offered() -> None:
    loading = Loading()
    assert numbers(loading.handle(view(epoch(1, ID1)), POOLS)) == [1]
    offered = view(epoch(1, ID1), epoch(2, ID1, ID2), current=1)
    assert numbers(loading.handle(offered, POOLS)) == [2]
    assert numbers(loading.handle(offered, POOLS)) == []


def test_earlier_owners_of_the_window_become_alternates() -> None:
    seen = view(epoch(1, ID1), epoch(2, ID1, ID2, window_from=1))
    (command,) = Loading().handle(seen, POOLS)
    assert isinstance(command, LoadTable)
    moved = command.table.owners == ID2
    assert moved.any()
    assert set(command.table.first[moved]) == {ID1}


def test_a_table_is_loaded_with_what_the_pool_says_of_connection_ids() -> None:
    seen = view(epoch(1, ID1))
    assert seen.desired is not None
    pools = tuple(replace(pool, quic=QuicIds(2)) for pool in seen.desired.pools)
    (command,) = Loading().handle(replace(seen, desired=replace(seen.desired, pools=pools)), POOLS)
    assert isinstance(command, LoadTable)
    assert command.quic == QuicIds(2)


def test_a_table_that_does_not_fit_its_digest_leaves_the_old_one() -> None:
    loading = Loading()
    loading.handle(view(epoch(1, ID1)), POOLS)
    seen = view(epoch(1, ID1), epoch(2, ID1, ID2))
    wrong = {**seen.epochs[WEB], EpochNumber(2): replace(seen.epochs[WEB][EpochNumber(2)], digest="00")}
    assert loading.handle(replace(seen, epochs={WEB: wrong}), POOLS) == []
    assert loading.loaded == {WEB: 1}
    assert "own table's digest" in loading.problems[WEB]
    assert numbers(loading.handle(seen, POOLS)) == [2]
    assert loading.problems == {}


def test_a_missing_epoch_of_the_window_is_named() -> None:
    seen = view(epoch(1, ID1), epoch(2, ID1, ID2, window_from=1))
    known = {number: each for number, each in seen.epochs[WEB].items() if number != 1}
    loading = Loading()
    assert loading.handle(replace(seen, epochs={WEB: known}), POOLS) == []
    assert "needs epoch 1" in loading.problems[WEB]


def test_a_copy_on_disk_never_takes_the_kernel_back() -> None:
    old = replace(view(epoch(2, ID1)), connected=False)
    loading = Loading({WEB: EpochNumber(3)}, {WEB: "of 3"})
    assert loading.handle(old, POOLS) == []
    assert loading.loaded == {WEB: 3}


def test_the_store_does_when_it_was_founded_anew() -> None:
    loading = Loading({WEB: EpochNumber(3)}, {WEB: "of 3"})
    assert numbers(loading.handle(view(epoch(2, ID1)), POOLS)) == [2]


def test_a_table_that_an_earlier_agent_left_is_not_loaded_again() -> None:
    seen = view(epoch(3, ID1))
    loading = Loading({WEB: EpochNumber(3)}, {WEB: seen.epochs[WEB][EpochNumber(3)].digest})
    assert loading.handle(seen, POOLS) == []
    loading.forget()
    assert numbers(loading.handle(seen, POOLS)) == [3]


def test_a_pool_that_is_not_needed_any_more_is_dropped() -> None:
    loading = Loading()
    seen = view(epoch(1, ID1))
    loading.handle(seen, POOLS)
    assert loading.handle(seen, set()) == [DropPool(WEB)]
    assert loading.loaded == {}
