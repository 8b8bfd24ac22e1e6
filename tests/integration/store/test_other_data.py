"""ZooKeeper comes back with other data than it had: daemons that run notice, refuse it, and say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest_asyncio

from lbnode.daemon.memory import Memory
from lbnode.model.fleet import Backend, DesiredFleet
from lbnode.model.ids import BackendName
from lbnode.model.members import FleetIdentity
from lbnode.store.copy import DiskCopy
from lbnode.store.zookeeper import ZooKeeperTree
from tests.zookeeper import ZooKeeperServer

SESSION_TIMEOUT_S = 0.8
SOON_S = 15.0


class Daemon:
    """What a daemon knows of its fleet. `news` is set whenever there is something to look at."""

    def __init__(self, server: ZooKeeperServer, state: Path) -> None:
        self.memory = Memory(ZooKeeperTree(server.hosts, "evenkeel/demo", SESSION_TIMEOUT_S), DiskCopy(state))
        self._news = asyncio.Event()

    async def start(self) -> None:
        await self.memory.start(self._news.set)
        assert await self.memory.store.wait_in_step(SOON_S)

    async def until(self, true: Callable[[], bool]) -> None:
        """Look at every piece of news until what is waited for is so."""
        async with asyncio.timeout(SOON_S):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def write(self, fleet: DesiredFleet) -> None:
        view = self.memory.view()
        await self.memory.store.write_desired(fleet, view.desired_version)
        await self.until(lambda: self.memory.view().desired == fleet)

    def refuses(self, why: str) -> bool:
        """True when it goes by what it knew before, because of what the store holds."""
        view = self.memory.view()
        return why in self.memory.problem and not view.connected


@pytest_asyncio.fixture
async def daemon(own_zookeeper: ZooKeeperServer, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon of a fleet that was founded on a server of its own."""
    own_zookeeper.start()
    daemon = Daemon(own_zookeeper, tmp_path / "state")
    await daemon.start()
    await daemon.memory.store.create_identity(FleetIdentity(uuid4(), "demo", {1: "22" * 32}))
    await daemon.until(lambda: daemon.memory.view().identity is not None)
    yield daemon
    await daemon.memory.close()


def fleet(name: str) -> DesiredFleet:
    return DesiredFleet("demo", backends=(Backend(BackendName(name), (ip_address("10.0.0.1"),)),))


async def test_a_zookeeper_that_was_wiped_is_refused_by_who_runs(
    daemon: Daemon, own_zookeeper: ZooKeeperServer
) -> None:
    await daemon.write(fleet("b1"))
    own_zookeeper.stop()
    own_zookeeper.wipe()
    await asyncio.to_thread(own_zookeeper.start)

    await daemon.until(lambda: daemon.refuses("holds no fleet"))
    assert daemon.memory.view().desired == fleet("b1")
    assert daemon.memory.local(0.0)


async def test_an_old_backup_is_refused_by_who_runs_until_newer_data_are_brought_back(
    daemon: Daemon, own_zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    await daemon.write(fleet("b1"))
    own_zookeeper.stop()
    own_zookeeper.backup(tmp_path / "old")
    await asyncio.to_thread(own_zookeeper.start)
    await daemon.until(lambda: daemon.memory.view().connected)
    await daemon.write(fleet("b2"))
    own_zookeeper.stop()
    own_zookeeper.backup(tmp_path / "new")
    own_zookeeper.restore(tmp_path / "old")
    await asyncio.to_thread(own_zookeeper.start)

    await daemon.until(lambda: daemon.refuses("old backup"))
    assert daemon.memory.view().desired == fleet("b2")

    own_zookeeper.stop()
    own_zookeeper.restore(tmp_path / "new")
    await asyncio.to_thread(own_zookeeper.start)
    await daemon.until(lambda: daemon.memory.view().connected)
    assert daemon.memory.problem == ""
    assert daemon.memory.view().desired == fleet("b2")
