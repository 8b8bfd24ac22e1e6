"""Who is to leave a slot and still sits there gets flows, so it is probed, judged and failed as others are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lbnode.app.health import targets
from lbnode.model.epoch import BackendState, EpochSlot
from lbnode.model.fleet import PoolMember
from lbnode.model.ids import BackendName, EpochNumber, SlotNumber

from .fleet_over_time import Fleet, crowded
from .fleets import WEB

ALL = ("b1", "b2", "b3", "b4")


def held_back() -> Fleet:
    """A pool that b3 is to leave, and where that waits for flows of b1."""
    web = crowded()
    web.apply(*ALL, health=True)
    web.up = {"b1": True, "b2": True, "b3": True, "b4": True}
    web.settle()
    web.apply("b1", "b2", "b4", health=True)
    web.settle()
    assert web.held == ["remove b3"]
    return web


def awaited() -> Fleet:
    """A pool in which b9 is to have the slot of b2, and is not up yet."""
    web = Fleet("b1", "b2", "b3")
    web.join("b9")
    first, last = PoolMember(BackendName("b1")), PoolMember(BackendName("b3"))
    newcomer = PoolMember(BackendName("b9"), 1, SlotNumber(1))
    web.apply("b1", "b2", "b3", health=True)
    web.up = {"b1": True, "b2": True, "b3": True}
    web.settle()
    web.apply("b1", "b2", "b3", "b9", health=True, members=(first, newcomer, last))
    web.settle()
    assert slot(web, 1).backend == web.id("b2")
    return web


def slot(web: Fleet, number: int) -> EpochSlot:
    return web.epoch.slots[number]


@pytest.mark.parametrize(("case", "leaver"), [(held_back, "b3"), (awaited, "b2")])
def test_they_are_probed(case: Callable[[], Fleet], leaver: str) -> None:
    web = case()
    member = web.view.backends[BackendName(leaver)]
    assert targets(web.view)[WEB, member.name].address == member.addresses[0]


def test_nobody_else_who_has_left_is_probed() -> None:
    web = Fleet("b1", "b2", "b3")
    web.apply("b1", "b3", health=True)
    web.settle()
    assert web.epoch.former
    assert {name for _, name in targets(web.view)} == {"b1", "b3"}


def test_one_that_dies_while_its_removal_is_held_gets_no_new_flows() -> None:
    web = held_back()
    before = web.epoch.number
    web.up = {"b1": True, "b2": True, "b3": False, "b4": True}
    web.settle()
    failed = web.view.epochs[WEB][EpochNumber(before + 1)].slots[2]
    assert (failed.backend, failed.state, failed.answers) == (web.id("b3"), BackendState.FAILED, True)
    assert web.id("b3") not in web.table.owners


def test_one_that_dies_while_its_successor_is_not_up_gets_no_new_flows() -> None:
    web = awaited()
    web.up = {"b1": True, "b2": False, "b3": True, "b9": False}
    web.settle()
    assert web.id("b2") not in web.table.owners


def test_one_that_is_well_keeps_its_flows_until_it_may_go() -> None:
    web = held_back()
    web.settle(after_s=10)
    assert slot(web, 2).state is BackendState.ACTIVE
    assert web.id("b3") in web.table.owners
