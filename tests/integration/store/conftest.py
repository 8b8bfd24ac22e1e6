"""Real stores for the contract tests: a ZooKeeper server for the session, a root or a directory for each
test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from lbnode.store.interest import EVERYTHING, Interest
from tests.integration.store.backing import Backing, Observer, Other
from tests.integration.store.cable import Cable
from tests.zookeeper import ZooKeeperServer

Open = Callable[..., Awaitable[Observer]]
Start = Callable[..., Awaitable[Other]]


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """A server that all tests share: leave it running."""
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"), tick_ms=200) as server:
        yield server


@pytest.fixture
def own_zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A server of this test alone, not yet started."""
    server = ZooKeeperServer(tmp_path / "zookeeper", tick_ms=200)
    yield server
    server.stop()


@pytest.fixture(params=["files", "zookeeper", "protected"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Backing:
    """An empty store of each kind."""
    if request.param == "files":
        return Backing("files", str(tmp_path / "store"))
    server: ZooKeeperServer = request.getfixturevalue("zookeeper")
    password = "the fleet's own" if request.param == "protected" else ""
    return Backing("zookeeper", f"evenkeel/{uuid4().hex}", server.hosts, password)


@pytest_asyncio.fixture
async def open_tree() -> AsyncIterator[Open]:
    """Open trees that are closed after the test: `await open_tree(backing)`."""
    observers: list[Observer] = []

    async def open_tree(
        backing: Backing, hosts: str = "", wait: bool = True, interest: Interest = EVERYTHING
    ) -> Observer:
        observer = Observer(backing.tree(hosts, interest))
        observers.append(observer)
        await observer.start()
        return await observer.ready() if wait else observer

    yield open_tree
    for observer in observers:
        observer.checks.clear()
        await observer.tree.close()


@pytest_asyncio.fixture
async def start_process() -> AsyncIterator[Start]:
    """Start other processes that are killed after the test: `await start_process(backing, order, …)`."""
    others: list[Other] = []

    async def start_process(backing: Backing, *orders: str) -> Other:
        other = await Other.start(backing, *orders)
        others.append(other)
        return other

    yield start_process
    for other in others:
        await other.kill()


@pytest_asyncio.fixture
async def cable(zookeeper: ZooKeeperServer) -> AsyncIterator[Cable]:
    """A cable to the shared server that a test may cut."""
    async with Cable(zookeeper.address, zookeeper.port) as cable:
        yield cable
