"""Strangers at a store: what they may not do, and what becomes of what they did while they could."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NotEmptyError
from kazoo.security import ACL, OPEN_ACL_UNSAFE, make_digest_acl
from structlog.typing import EventDict

from lbnode.store.access import Party
from lbnode.store.protection import protect
from lbnode.store.tree import MissingError, Session, StoreError
from lbnode.store.zookeeper import ZooKeeperTree
from tests.integration.store.backing import Backing
from tests.integration.store.conftest import Open
from tests.zookeeper import ZooKeeperServer

Said = list[EventDict]
STRANGERS_OWN = [make_digest_acl("stranger", "his", all=True)]
EPOCH = "epochs/web/0000000001"


@pytest.fixture
def said() -> Iterator[Said]:
    """What is logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def nodes(zookeeper: ZooKeeperServer) -> Backing:
    """A protected fleet as its nodes see it."""
    return Backing("zookeeper", f"evenkeel/{uuid4().hex}", zookeeper.hosts, "the fleet's own")


@pytest.fixture
def agents(nodes: Backing) -> Backing:
    return replace(nodes, party=Party.BACKENDS.value)


@pytest.fixture
def stranger(zookeeper: ZooKeeperServer) -> Iterator[KazooClient]:
    """Somebody who reaches ZooKeeper and has a secret of his own."""
    client = KazooClient(zookeeper.hosts, auth_data=[("digest", "stranger:his")])
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def insider(zookeeper: ZooKeeperServer, nodes: Backing) -> Iterator[KazooClient]:
    """Somebody at a shell with the nodes' secret."""
    assert nodes.access is not None
    client = KazooClient(zookeeper.hosts, auth_data=[nodes.access.credentials])
    client.start()
    yield client
    client.stop()
    client.close()


def errors(said: Said, beginning: str) -> Said:
    return [entry for entry in said if str(entry["event"]).startswith(beginning)]


async def until_said(said: Said, beginning: str) -> EventDict:
    async with asyncio.timeout(10):
        while not (found := errors(said, beginning)):
            await asyncio.sleep(0.02)
    return found[0]


def below(client: KazooClient, path: str) -> Iterator[str]:
    yield path
    for name in client.get_children(path):
        yield from below(client, f"{path}/{name}")


async def at_work(nodes: Backing, agents: Backing, open_tree: Open) -> None:
    """Have something of every kind in the store."""
    node, agent = await open_tree(nodes), await open_tree(agents)
    campaign = node.campaign("n1")
    await node.until(lambda: campaign.leading)
    for path in ("identity", "desired", "nodes/n1", "backends/b1", EPOCH, "current/web", "questions/web"):
        await node.tree.create(path, b"x")
    await node.tree.announce("live/nodes/n1", b"x")
    await agent.tree.create("agents/b1", b"x")
    await agent.tree.announce("live/agents/b1", b"x")
    await agent.tree.announce("reports/web/b1", b"x")
    await node.until(lambda: node.value("reports/web/b1") == b"x")
    await agent.until(lambda: agent.value("current/web") == b"x")


async def test_every_znode_is_closed_to_everybody_else(
    nodes: Backing, agents: Backing, open_tree: Open, stranger: KazooClient, insider: KazooClient
) -> None:
    await at_work(nodes, agents, open_tree)
    paths = list(below(insider, f"/{nodes.root}"))
    assert len(paths) > 20
    for path in paths:
        acl = {each.id.id.partition(":")[0]: each.acl_list for each in insider.get_acls(path)[0]}
        assert set(acl) == {"evenkeel-nodes", "evenkeel-backends"}, path
        assert acl["evenkeel-nodes"] == ["ALL"]
        inside = path.removeprefix(f"/{nodes.root}/")
        agents_own = inside.startswith(("agents", "live/agents", "reports"))
        assert acl["evenkeel-backends"] == (["READ", "WRITE", "CREATE", "DELETE"] if agents_own else ["READ"])
    attempts: list[Callable[[str], object]] = [
        stranger.get,
        stranger.get_children,
        lambda path: stranger.set(path, b"mine"),
        lambda path: stranger.create(f"{path}/mine", b"mine"),
        lambda path: stranger.set_acls(path, OPEN_ACL_UNSAFE),
    ]
    for path in paths:
        for attempt in attempts:
            with pytest.raises(NoAuthError):
                attempt(path)
    with pytest.raises(NoAuthError):
        stranger.delete(f"/{nodes.root}/{EPOCH}")
    with pytest.raises(NotEmptyError):
        stranger.delete(f"/{nodes.root}")


async def test_a_backend_says_what_agents_say_and_nothing_else(
    nodes: Backing, agents: Backing, open_tree: Open
) -> None:
    await at_work(nodes, agents, open_tree)
    agent = await open_tree(agents)
    assert isinstance(agent.tree, ZooKeeperTree)
    assert abs(await agent.tree.now() - time.time()) < 5
    await agent.tree.put("agents/b1", b"again")
    await agent.tree.delete("agents/b1")
    for path in ("desired", "nodes/n1", EPOCH, "current/web"):
        with pytest.raises(StoreError, match=f"write {path}: not allowed"):
            await agent.tree.write(path, b"mine", 0)
    for path in ("nodes/evil", "epochs/web/0000000002", "held/web", "identity"):
        with pytest.raises(StoreError, match=f"create {path}: not allowed"):
            await agent.tree.create(path, b"mine")
    with pytest.raises(StoreError, match="delete nodes/n1: not allowed"):
        await agent.tree.delete("nodes/n1")


async def test_an_agent_that_is_there_first_waits_for_a_node(
    nodes: Backing, agents: Backing, open_tree: Open, said: Said
) -> None:
    agent = await open_tree(agents, wait=False)
    await agent.tree.announce("live/agents/b1", b"here")
    complaint = await until_said(said, "store: ZooKeeper out of reach")
    assert "is not there yet: start a node of this fleet" in str(complaint["reason"])
    node = await open_tree(nodes)
    await agent.ready()
    await node.until(lambda: node.value("live/agents/b1") == b"here")


@pytest.mark.parametrize("password", ["", "guessed"], ids=["none", "wrong"])
async def test_without_the_secret_a_daemon_believes_nothing_and_says_why(
    nodes: Backing, open_tree: Open, said: Said, password: str
) -> None:
    await (await open_tree(nodes)).tree.create("desired", b"x")
    other = await open_tree(replace(nodes, password=password), wait=False)
    refusal = await until_said(said, "store: refused")
    assert refusal["znode"] == f"/{nodes.root}"
    assert refusal["reason"] == "this process may not read it"
    assert "check store.secret_file" in str(refusal["remedy"])
    assert other.tree.session is not Session.CONNECTED
    assert other.tree.snapshot() == {}


async def test_a_store_that_a_stranger_has_prepared_is_refused_until_it_is_closed(
    nodes: Backing, open_tree: Open, stranger: KazooClient, said: Said
) -> None:
    root = f"/{nodes.root}"
    stranger.create(f"{root}/identity", b"a trap", makepath=True)
    stranger.ensure_path(f"{root}/nodes")
    stranger.create(f"{root}/nodes/evil", b"a trap", acl=STRANGERS_OWN)
    node = await open_tree(nodes, wait=False)
    refusal = await until_said(said, "store: refused")
    assert (refusal["znode"], refusal["reason"]) == (
        root,
        "world:anyone may read, write, create below, delete below, open it",
    )
    assert "lbnode protect" in str(refusal["remedy"])
    assert node.tree.snapshot() == {}
    assert node.tree.problem.startswith(f"refused: {root}: world:anyone may read, ")
    assert nodes.access is not None
    done = await asyncio.to_thread(protect, nodes.hosts, nodes.root, nodes.access)
    assert done.foreign == (f"{root}/nodes/evil",)
    await node.ready()
    assert node.tree.problem == f"a stranger's record is left out: {root}/nodes/evil: delete it"
    with pytest.raises(NoAuthError):
        stranger.create(f"{root}/nodes/another", b"a trap")


async def test_a_strangers_record_is_left_out_by_name_and_the_others_count(
    nodes: Backing, open_tree: Open, insider: KazooClient, said: Said
) -> None:
    node = await open_tree(nodes)
    await node.tree.create("nodes/n1", b"x")
    insider.create(f"/{nodes.root}/nodes/evil", b"a trap", acl=STRANGERS_OWN)
    insider.create(f"/{nodes.root}/nodes/open", b"a trap", acl=OPEN_ACL_UNSAFE)
    insider.create(f"/{nodes.root}/nodes/n2", b"x", acl=_as_made(nodes, "nodes/n2"))
    await node.until(lambda: node.value("nodes/n2") == b"x")
    assert set(node.tree.snapshot()) == {"nodes/n1", "nodes/n2"}
    assert errors(said, "store: may not read a znode")[0]["znode"] == f"/{nodes.root}/nodes/evil"
    assert errors(said, "store: a stranger's record")[0]["znode"] == f"/{nodes.root}/nodes/open"
    assert node.tree.problem.endswith("nodes/evil and 1 more: delete it")
    insider.delete(f"/{nodes.root}/nodes/evil")
    insider.delete(f"/{nodes.root}/nodes/open")
    await node.until(lambda: node.tree.problem == "")


async def test_a_record_that_was_opened_since_is_left_out_when_it_changes(
    nodes: Backing, open_tree: Open, insider: KazooClient, stranger: KazooClient
) -> None:
    node = await open_tree(nodes)
    await node.tree.create("desired", b"the fleet's")
    znode = f"/{nodes.root}/desired"
    insider.set_acls(znode, [*_as_made(nodes, "desired"), *OPEN_ACL_UNSAFE])
    stranger.set(znode, b"a stranger's")
    await node.until(lambda: node.value("desired") is None)


@pytest.mark.parametrize("acl", [OPEN_ACL_UNSAFE, STRANGERS_OWN], ids=["opened", "taken"])
async def test_a_folder_that_is_not_the_fleets_alone_is_noticed_at_the_start(
    nodes: Backing, open_tree: Open, insider: KazooClient, stranger: KazooClient, said: Said, acl: list[ACL]
) -> None:
    await (await open_tree(nodes)).tree.create(EPOCH, b"x")
    insider.set_acls(f"/{nodes.root}/epochs", acl)
    late = await open_tree(nodes, wait=False)
    assert (await until_said(said, "store: refused"))["znode"] == f"/{nodes.root}/epochs"
    stranger.set_acls(f"/{nodes.root}/epochs", _as_made(nodes, "epochs"))
    await late.ready()
    assert late.value(EPOCH) == b"x"


async def test_an_open_fleet_is_closed_as_it_stands(
    nodes: Backing, open_tree: Open, stranger: KazooClient
) -> None:
    before = await open_tree(replace(nodes, password=""))
    await before.tree.create(EPOCH, b"x")
    await before.tree.close()
    assert nodes.access is not None
    done = await asyncio.to_thread(protect, nodes.hosts, nodes.root, nodes.access)
    assert (done.closed, done.before, done.foreign) == (4, 0, ())
    again = await asyncio.to_thread(protect, nodes.hosts, nodes.root, nodes.access)
    assert (again.closed, again.before) == (0, 4)
    assert (await open_tree(nodes)).value(EPOCH) == b"x"
    with pytest.raises(NoAuthError):
        stranger.get(f"/{nodes.root}/{EPOCH}")


async def test_new_passwords_take_the_place_of_old_ones(
    nodes: Backing, agents: Backing, open_tree: Open, said: Said
) -> None:
    await at_work(nodes, agents, open_tree)
    renewed = replace(nodes, password="another one")
    assert nodes.access is not None
    assert renewed.access is not None
    with pytest.raises(StoreError, match="closed with another secret: name it with --before"):
        await asyncio.to_thread(protect, nodes.hosts, nodes.root, renewed.access)
    done = await asyncio.to_thread(protect, nodes.hosts, nodes.root, renewed.access, nodes.access)
    assert (done.before, done.foreign) == (0, ())
    assert (await open_tree(renewed)).value(EPOCH) == b"x"
    assert (await open_tree(replace(agents, password="another one"))).value(EPOCH) == b"x"
    await open_tree(nodes, wait=False)
    assert (await until_said(said, "store: refused"))["reason"] == "this process may not read it"


async def test_there_is_nothing_to_close_where_no_fleet_is(nodes: Backing) -> None:
    assert nodes.access is not None
    with pytest.raises(MissingError, match="nothing there: start a node first"):
        await asyncio.to_thread(protect, nodes.hosts, nodes.root, nodes.access)


async def test_a_strangers_file_in_a_directory_is_left_out(
    tmp_path: Path, open_tree: Open, said: Said
) -> None:
    backing = Backing("files", str(tmp_path / "store"))
    mine = await open_tree(backing)
    await mine.tree.create("nodes/n1", b"x")
    trap = tmp_path / "store" / "records" / "nodes" / "evil"
    trap.write_bytes(b'{"version": 0, "session": null}\na trap')
    os.chown(trap, 65534, 65534)
    late = await open_tree(backing)
    assert set(late.tree.snapshot()) == {"nodes/n1"}
    assert late.tree.problem == f"a stranger's record is left out: {trap}: delete it"
    refusal = errors(said, "store: a stranger's record")[0]
    assert (refusal["path"], refusal["owner"]) == (str(trap), 65534)


async def test_a_directory_that_others_can_write_is_refused_until_it_is_closed(
    tmp_path: Path, open_tree: Open, said: Said
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o777)
    mine = await open_tree(Backing("files", str(folder)), wait=False)
    refusal = await until_said(said, "store: cannot use the directory")
    assert f"others can write in {folder}: chmod go-w {folder}" in str(refusal["reason"])
    assert mine.tree.problem.startswith(f"refused: others can write in {folder}")
    folder.chmod(0o755)
    await mine.ready()


async def test_root_believes_the_files_of_the_directorys_owner(tmp_path: Path, open_tree: Open) -> None:
    backing = Backing("files", str(tmp_path / "store"))
    mine = await open_tree(backing)
    for name in ("n1", "n2"):
        await mine.tree.create(f"nodes/{name}", b"x")
    await mine.tree.close()
    os.chown(tmp_path / "store", 65534, 65534)
    os.chown(tmp_path / "store" / "records" / "nodes" / "n1", 65534, 65534)
    os.chown(tmp_path / "store" / "records" / "nodes" / "n2", 65533, 65533)
    assert set((await open_tree(backing)).tree.snapshot()) == {"nodes/n1"}


def _as_made(backing: Backing, path: str) -> list[ACL]:
    assert backing.access is not None
    return backing.access.acl(path)
