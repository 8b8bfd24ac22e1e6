"""What a process does not need of the store at once, it reads later or never; over a real ZooKeeper."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from lbnode.store.interest import Interest
from lbnode.store.mirror import PATIENCE_S
from tests.integration.store.backing import Backing
from tests.integration.store.cable import Cable
from tests.integration.store.conftest import Open
from tests.zookeeper import ZooKeeperServer

LATER = Interest(on_demand=("live",))
"""Reads changes below `live` only when it is asked to."""


@pytest.fixture
def fleet(zookeeper: ZooKeeperServer) -> Backing:
    return Backing("zookeeper", f"evenkeel/{uuid4().hex}", zookeeper.hosts)


async def test_what_a_process_does_not_read_never_shows_in_its_mirror(
    fleet: Backing, open_tree: Open
) -> None:
    one = await open_tree(fleet)
    await one.tree.announce("live/agents/b1", b"here")
    other = await open_tree(fleet, interest=Interest(unread=("live",)))
    await one.tree.announce("live/agents/b2", b"here")
    await one.tree.create("nodes/n1", b"member")
    await other.until(lambda: other.value("nodes/n1") == b"member")
    await other.tree.announce("live/agents/b3", b"me")

    assert set(other.tree.snapshot()) == {"nodes/n1"}
    await one.until(lambda: one.value("live/agents/b3") == b"me")


async def test_a_change_that_can_wait_is_read_when_somebody_asks(fleet: Backing, open_tree: Open) -> None:
    one = await open_tree(fleet)
    await one.tree.announce("live/agents/b1", b"first")
    other = await open_tree(fleet, interest=LATER)
    assert other.value("live/agents/b1") == b"first"

    for said in (b"second", b"third"):
        await one.tree.announce("live/agents/b1", said)
    await one.tree.create("nodes/n1", b"member")
    await other.until(lambda: other.value("nodes/n1") == b"member")
    assert other.value("live/agents/b1") == b"first"

    await other.tree.catch_up()
    assert other.value("live/agents/b1") == b"third"


async def test_who_comes_and_goes_is_read_when_somebody_asks(fleet: Backing, open_tree: Open) -> None:
    one = await open_tree(fleet)
    await one.tree.announce("live/agents/b1", b"here")
    other = await open_tree(fleet, interest=LATER)

    await one.tree.withdraw("live/agents/b1")
    await one.tree.announce("live/agents/b2", b"here")
    await one.tree.create("nodes/n1", b"member")
    await other.until(lambda: other.value("nodes/n1") == b"member")
    await other.tree.catch_up()

    assert other.value("live/agents/b2") == b"here"
    assert other.value("live/agents/b1") is None


async def test_what_is_read_by_half_is_not_called_whole(fleet: Backing, open_tree: Open) -> None:
    """The list of a folder comes first, and the records that are new in it need another way there and back."""
    one = await open_tree(fleet)
    await one.tree.announce("live/nodes/n1", b"here")
    address, port = fleet.hosts.split(":")
    async with Cable(address, int(port)) as cable:
        other = await open_tree(replace(fleet, hosts=cable.hosts), interest=LATER)
        await one.tree.withdraw("live/nodes/n1")
        await one.tree.announce("live/nodes/n2", b"here")
        await one.tree.create("nodes/n2", b"member")
        await other.until(lambda: other.value("nodes/n2") == b"member")
        cable.slow(4 * PATIENCE_S)

        assert not await other.tree.catch_up()
        assert (other.value("live/nodes/n1"), other.value("live/nodes/n2")) == (None, None)
        async with asyncio.timeout(5):
            while not await other.tree.catch_up():
                await other.until(lambda: other.value("live/nodes/n2") == b"here")
        assert other.value("live/nodes/n2") == b"here"


async def test_leisure_ends_by_itself_but_not_for_what_nobody_has_asked_for(
    fleet: Backing, open_tree: Open
) -> None:
    one = await open_tree(fleet)
    for path in ("live/agents/b1", "current/web"):
        await one.tree.announce(path, b"first")
    interest = Interest(on_demand=("live",), at_leisure=("current",), leisure_s=0.05)
    other = await open_tree(fleet, interest=interest)

    for path in ("live/agents/b1", "current/web"):
        await one.tree.announce(path, b"second")

    await other.until(lambda: other.value("current/web") == b"second")
    assert other.value("live/agents/b1") == b"first"
    await other.tree.catch_up()
    assert other.value("live/agents/b1") == b"second"


async def test_what_it_says_itself_is_no_news_to_a_process_that_could_read_it_late(
    fleet: Backing, open_tree: Open
) -> None:
    other = await open_tree(fleet, interest=LATER)
    news: list[None] = []
    other.checks.append(lambda: news.append(None))

    for said in (b"first", b"second"):
        await other.tree.announce("live/agents/b1", said)
        assert other.value("live/agents/b1") == said
    assert not news

    await other.tree.create("nodes/n1", b"member")
    await other.until(lambda: bool(news))
    assert other.value("live/agents/b1") == b"second"


async def test_the_leader_reads_at_once(fleet: Backing, open_tree: Open) -> None:
    one = await open_tree(fleet)
    await one.tree.announce("live/agents/b1", b"first")
    other = await open_tree(fleet, interest=LATER)
    await one.tree.announce("live/agents/b1", b"second")

    campaign = other.campaign("n1")
    await other.until(lambda: campaign.leading)
    await other.until(lambda: other.value("live/agents/b1") == b"second")
    await one.tree.announce("live/agents/b1", b"third")
    await other.until(lambda: other.value("live/agents/b1") == b"third")


async def test_several_may_catch_up_at_once(fleet: Backing, open_tree: Open) -> None:
    one = await open_tree(fleet)
    other = await open_tree(fleet, interest=LATER)
    await one.tree.announce("live/agents/b1", b"here")

    await one.tree.create("nodes/n1", b"member")
    await other.until(lambda: other.value("nodes/n1") == b"member")

    async with asyncio.timeout(5):
        await asyncio.gather(*(other.tree.catch_up() for _ in range(3)))
    assert other.value("live/agents/b1") == b"here"
