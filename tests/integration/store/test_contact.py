"""Losing a store and finding it again. What can go wrong differs by kind, so these are not shared."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from kazoo.client import KazooClient
from structlog.typing import EventDict

from lbnode.store.client import ImpatientHandler
from lbnode.store.files import RETRY_S
from lbnode.store.tree import Session, UnavailableError
from tests.integration.store.backing import SESSION_TIMEOUT_S, Backing, Observer
from tests.integration.store.cable import Cable
from tests.integration.store.conftest import Open
from tests.zookeeper import ZooKeeperServer


@pytest.fixture
def said() -> Iterator[list[EventDict]]:
    """What is logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def fleet(zookeeper: ZooKeeperServer, request: pytest.FixtureRequest) -> Backing:
    """A root on the shared server."""
    return Backing("zookeeper", f"evenkeel/{request.node.name}", zookeeper.hosts)


async def reconnected(observer: Observer) -> None:
    await observer.until(lambda: observer.tree.session is Session.CONNECTED, 15)


async def lost_contact(observer: Observer) -> None:
    await observer.until(lambda: observer.tree.session is not Session.CONNECTED)


async def test_a_start_without_zookeeper_returns_says_so_and_connects_later(
    own_zookeeper: ZooKeeperServer, open_tree: Open, said: list[dict[str, object]]
) -> None:
    backing = Backing("zookeeper", "evenkeel/late", own_zookeeper.hosts)
    begun = time.monotonic()
    mine = await open_tree(backing, wait=False)
    await mine.tree.announce("live/nodes/n1", b"here")
    assert time.monotonic() - begun < 1.0
    with pytest.raises(UnavailableError, match=own_zookeeper.hosts):
        await mine.tree.put("desired", b"x")
    while not (complaints := [entry for entry in said if entry["log_level"] == "error"]):
        assert time.monotonic() - begun < 10
        await asyncio.sleep(0.05)
    assert complaints[0]["hosts"] == own_zookeeper.hosts
    assert "refused" in str(complaints[0]["reason"])
    assert "start ZooKeeper" in str(complaints[0]["remedy"])
    await asyncio.to_thread(own_zookeeper.start)
    await reconnected(mine)
    await mine.until(lambda: mine.value("live/nodes/n1") == b"here")


async def test_after_a_restart_of_zookeeper_everything_is_as_before(
    own_zookeeper: ZooKeeperServer, open_tree: Open
) -> None:
    await asyncio.to_thread(own_zookeeper.start)
    backing = Backing("zookeeper", "evenkeel/restart", own_zookeeper.hosts)
    mine, theirs = await open_tree(backing), await open_tree(backing)
    await mine.tree.announce("live/nodes/n1", b"here")
    await mine.tree.put("desired", b"x")
    campaign = mine.campaign("mine")
    await mine.until(lambda: campaign.leading)
    await asyncio.to_thread(own_zookeeper.stop)
    await lost_contact(mine)
    assert not campaign.leading
    assert mine.value("desired") == b"x"
    await asyncio.to_thread(own_zookeeper.start)
    await reconnected(theirs)
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"here")
    await mine.until(lambda: campaign.leading)
    await mine.tree.put("desired", b"y")
    await theirs.until(lambda: theirs.value("desired") == b"y")


async def test_a_lost_session_brings_back_what_was_announced(
    fleet: Backing, open_tree: Open, cable: Cable
) -> None:
    mine, theirs = await open_tree(fleet, cable.hosts), await open_tree(fleet)
    await mine.tree.announce("live/nodes/n1", b"here")
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"here")
    cable.pull()
    await theirs.until(lambda: theirs.tree.get("live/nodes/n1") is None)
    assert mine.tree.session is Session.SUSPENDED
    await mine.tree.announce("live/nodes/n1", b"still here")
    cable.plug()
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"still here")
    await reconnected(mine)
    assert mine.history == ["connected", "suspended", "lost", "connected"]


async def test_a_server_that_takes_a_connection_and_says_nothing_does_not_cost_the_session(
    fleet: Backing, open_tree: Open, cable: Cable
) -> None:
    """ZooKeeper does so now and then to those that come while it starts."""
    patient = replace(fleet, session_timeout_s=6.0)
    mine = await open_tree(patient, cable.hosts)
    await mine.tree.announce("live/nodes/n1", b"here")
    cable.pull()
    await lost_contact(mine)
    cable.swallow(1)
    cable.plug()
    await reconnected(mine)
    assert mine.history == ["connected", "suspended", "connected"]


def test_a_server_that_is_off_is_given_up_in_time() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = full.getsockname()
    with full, socket.create_connection(address):  # those that come after it are not answered
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            ImpatientHandler(None, 0.5).create_connection(address=address, hostname="", timeout=30.0)
        assert time.monotonic() - begun < 10.0


async def test_what_changed_meanwhile_is_in_the_mirror_when_contact_returns(
    fleet: Backing, open_tree: Open, cable: Cable
) -> None:
    mine, theirs = await open_tree(fleet, cable.hosts), await open_tree(fleet)
    for name in ("kept", "changed", "deleted"):
        await theirs.tree.put(f"nodes/{name}", b"before")
    await theirs.tree.put("epochs/gone/0000000001", b"before")
    await mine.until(lambda: len(mine.tree.snapshot()) == 4)
    cable.pull()
    await lost_contact(mine)
    await theirs.tree.put("nodes/changed", b"after")
    await theirs.tree.put("epochs/new/0000000001", b"after")
    await theirs.tree.delete("nodes/deleted")
    await theirs.tree.delete("epochs/gone/0000000001")
    assert len(mine.tree.snapshot()) == 4
    cable.plug()
    await reconnected(mine)
    assert mine.tree.snapshot() == theirs.tree.snapshot()
    await theirs.tree.put("epochs/new/0000000002", b"later")
    await mine.until(lambda: mine.value("epochs/new/0000000002") == b"later")


@pytest.mark.parametrize("fault", ["pull", "jam"])
async def test_a_leader_without_contact_has_stopped_before_the_next_one_starts(
    fleet: Backing, open_tree: Open, cable: Cable, fault: str
) -> None:
    mine, theirs = await open_tree(fleet, cable.hosts), await open_tree(fleet)
    first = mine.campaign("mine")
    await mine.until(lambda: first.leading)
    second = theirs.campaign("theirs")
    both: list[bool] = []
    for each in (mine, theirs):
        each.checks.append(lambda: both.append(first.leading and second.leading))
    getattr(cable, fault)()
    await theirs.until(lambda: second.leading, 2 * SESSION_TIMEOUT_S + 1)
    assert sorted(mine.history[-2:]) == ["deposed", "suspended"]
    assert not any(both)
    cable.plug()
    await reconnected(mine)
    await mine.until(lambda: mine.tree.leader == "theirs")
    assert not first.leading
    await second.withdraw()
    await mine.until(lambda: first.leading)


async def test_a_short_loss_of_contact_leaves_the_leader_in_its_place(
    fleet: Backing, open_tree: Open, cable: Cable
) -> None:
    mine, theirs = await open_tree(fleet, cable.hosts), await open_tree(fleet)
    first = mine.campaign("mine")
    await mine.until(lambda: first.leading)
    second = theirs.campaign("theirs")
    cable.pull()
    await lost_contact(mine)
    cable.plug()
    await mine.until(lambda: first.leading)
    again = ["connected", "elected", "suspended", "deposed", "connected", "elected"]
    await mine.until(lambda: mine.history == again)
    assert not second.leading


async def test_a_write_without_an_answer_says_that_its_outcome_is_unknown(
    fleet: Backing, open_tree: Open, cable: Cable
) -> None:
    mine = await open_tree(fleet, cable.hosts)
    cable.jam()
    with pytest.raises(UnavailableError, match="not known"):
        await mine.tree.put("desired", b"x")


async def test_a_wiped_root_empties_the_mirror_and_can_be_filled_again(
    fleet: Backing, open_tree: Open, zookeeper: ZooKeeperServer
) -> None:
    mine, theirs = await open_tree(fleet), await open_tree(fleet)
    await mine.tree.put("epochs/web/0000000001", b"x")
    await theirs.until(lambda: len(theirs.tree.snapshot()) == 1)
    operator = KazooClient(zookeeper.hosts)
    await asyncio.to_thread(operator.start)
    await asyncio.to_thread(operator.delete, f"/{fleet.root}", recursive=True)
    await asyncio.to_thread(operator.stop)
    operator.close()
    await theirs.until(lambda: not theirs.tree.snapshot())
    await mine.tree.put("epochs/web/0000000002", b"y")
    await theirs.until(lambda: theirs.value("epochs/web/0000000002") == b"y")


async def test_closing_without_zookeeper_does_not_hang(
    own_zookeeper: ZooKeeperServer, open_tree: Open
) -> None:
    mine = await open_tree(Backing("zookeeper", "evenkeel/none", own_zookeeper.hosts), wait=False)
    campaign = mine.campaign("mine")
    async with asyncio.timeout(5):
        await campaign.withdraw()
        await mine.tree.close()


async def test_a_directory_that_is_moved_away_is_lost_and_found(
    tmp_path: Path, open_tree: Open, said: list[dict[str, object]]
) -> None:
    backing = Backing("files", str(tmp_path / "store"))
    mine, theirs = await open_tree(backing), await open_tree(backing)
    await mine.tree.put("desired", b"x")
    await mine.tree.announce("live/nodes/n1", b"here")
    campaign = mine.campaign("mine")
    await mine.until(lambda: campaign.leading)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    await mine.until(lambda: mine.tree.session is Session.LOST)
    assert not campaign.leading
    assert mine.value("desired") == b"x"
    with pytest.raises(UnavailableError, match="bring it back"):
        await mine.tree.put("desired", b"y")
    assert any(entry.get("remedy") == "bring the directory back" for entry in said)
    await lost_contact(theirs)
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    await reconnected(theirs)
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"here")
    await mine.until(lambda: campaign.leading)


async def test_a_directory_that_is_deleted_is_lost_and_no_empty_one_takes_its_place(
    tmp_path: Path, open_tree: Open
) -> None:
    root = tmp_path / "store"
    mine = await open_tree(Backing("files", str(root)))
    await mine.tree.put("nodes/n1", b"x")
    deleted = await asyncio.create_subprocess_exec("rm", "-r", str(root))
    assert await deleted.wait() == 0
    await mine.until(lambda: mine.tree.session is Session.LOST)
    root.mkdir()
    with pytest.raises(AssertionError, match="not within"):
        await mine.until(lambda: mine.tree.session is Session.CONNECTED, 3 * RETRY_S)
    assert mine.value("nodes/n1") == b"x"
    assert list(root.iterdir()) == []


async def test_a_start_without_the_directory_returns_says_so_and_opens_it_later(
    tmp_path: Path, open_tree: Open, said: list[dict[str, object]]
) -> None:
    root = tmp_path / "store"
    root.write_text("in the way")
    mine = await open_tree(Backing("files", str(root)), wait=False)
    assert mine.tree.session is Session.LOST
    assert any(entry["log_level"] == "error" and entry["path"] == str(root) for entry in said)
    await mine.tree.announce("live/nodes/n1", b"here")
    root.unlink()
    root.mkdir()
    await reconnected(mine)
    await mine.until(lambda: mine.value("live/nodes/n1") == b"here")


async def test_a_candidate_that_stands_before_there_is_contact_is_elected_when_there_is(
    own_zookeeper: ZooKeeperServer, open_tree: Open, said: list[dict[str, object]]
) -> None:
    mine = await open_tree(Backing("zookeeper", "evenkeel/early", own_zookeeper.hosts), wait=False)
    campaign = mine.campaign("mine")
    async with asyncio.timeout(10):
        while not any(entry["log_level"] == "error" for entry in said):
            await asyncio.sleep(0.05)
    assert not campaign.leading
    await asyncio.to_thread(own_zookeeper.start)
    await mine.until(lambda: campaign.leading, 15)
