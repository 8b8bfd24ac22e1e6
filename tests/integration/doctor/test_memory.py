"""The doctor on the fleet's memory and the clock, with a real ZooKeeper that runs, stops, and stands alone."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from lbnode.doctor.checks.store import check_clock, check_store
from lbnode.doctor.findings import Finding, Grade
from lbnode.doctor.gather import memory
from lbnode.lab.zookeeper import ServerConfig, command
from lbnode.model.members import FleetIdentity
from lbnode.settings.store import ZooKeeperSettings
from lbnode.store.access import Party
from lbnode.store.fleet import FleetStore
from lbnode.store.zookeeper import ZooKeeperTree
from tests.integration.cable import eventually
from tests.zookeeper import ZooKeeperServer, free_port

FLEET = "demo"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper")) as running:
        asyncio.run(found(running.hosts))
        yield running


async def found(hosts: str) -> None:
    """Make a fleet, as the first node does."""
    store = FleetStore(ZooKeeperTree(hosts, f"evenkeel/{FLEET}"))
    await store.start(lambda: None)
    assert await store.wait_in_step(10)
    await store.create_identity(FleetIdentity(uuid4(), FLEET, {1: "00" * 32}))
    await store.close()


def settings(*hosts: str) -> ZooKeeperSettings:
    return ZooKeeperSettings(kind="zookeeper", hosts=hosts)


@contextmanager
def lonely_server(folder: Path) -> Iterator[str]:
    """One server of an ensemble of two; the other one never comes."""
    port, quorum, election = (free_port() for _ in range(3))
    (folder / "myid").write_text("1")
    config = folder / "zoo.cfg"
    members = f"server.1=127.0.0.1:{quorum}:{election}\nserver.2=127.0.0.2:{quorum}:{election}\n"
    ensemble = "initLimit=5\nsyncLimit=2\n" + members
    config.write_text(ServerConfig(folder, "127.0.0.1", port).text() + ensemble)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command(config), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        eventually("the lonely server listens", lambda: is_open(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def on_store(where: ZooKeeperSettings, state_dir: Path) -> tuple[Finding, ...]:
    async def look() -> tuple[Finding, ...]:
        async with memory.opened(where, FLEET, state_dir, Party.NODES) as read:
            return check_store(await memory.store(read, where)).findings

    return asyncio.run(look())


def on_clock(server: ZooKeeperServer, state_dir: Path, ahead_s: float) -> tuple[Finding, ...]:
    """What is said of a machine whose clock is `ahead_s` ahead of the server's."""

    async def look() -> tuple[Finding, ...]:
        async with memory.opened(settings(server.hosts), FLEET, state_dir, Party.NODES) as read:
            return check_clock(await memory.clock(read, lambda: time.time() + ahead_s)).findings

    return asyncio.run(look())


def test_a_store_that_answers_with_all_servers_is_good(server: ZooKeeperServer, tmp_path: Path) -> None:
    assert on_store(settings(server.hosts), tmp_path) == ()


def test_a_server_that_is_down_is_a_warning_while_another_serves(
    server: ZooKeeperServer, tmp_path: Path
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    (found,) = on_store(settings(server.hosts, dead), tmp_path)
    assert (found.grade, found.subject) == (Grade.WARNING, f"ZooKeeper server {dead}")
    assert "refused" in found.what
    assert "1 of 2 servers answer" in found.why


def test_a_store_that_is_down_is_a_failure(tmp_path: Path) -> None:
    session, server = on_store(settings(f"127.0.0.1:{free_port()}"), tmp_path)
    assert (session.grade, server.grade) == (Grade.FAILURE, Grade.FAILURE)
    assert "no session within" in session.what
    assert "forwarding goes on" in session.why


def test_a_server_without_its_ensemble_is_told_from_one_that_is_down(tmp_path: Path) -> None:
    with lonely_server(tmp_path) as hosts:
        _, found = on_store(settings(hosts), tmp_path)
    assert "runs, but has no quorum" in found.what


def test_a_store_without_a_fleet_is_found(server: ZooKeeperServer, tmp_path: Path) -> None:
    async def look() -> tuple[Finding, ...]:
        async with memory.opened(settings(server.hosts), "other", tmp_path, Party.NODES) as read:
            return check_store(await memory.store(read, settings(server.hosts))).findings

    (found,) = asyncio.run(look())
    assert "holds no fleet yet" in found.what


def test_a_clock_that_agrees_with_the_servers_is_good(server: ZooKeeperServer, tmp_path: Path) -> None:
    assert on_clock(server, tmp_path, 0.0) == ()


@pytest.mark.parametrize(("ahead_s", "word"), [(30.0, "ahead of"), (-30.0, "behind")])
def test_a_clock_that_is_off_is_measured(
    server: ZooKeeperServer, tmp_path: Path, ahead_s: float, word: str
) -> None:
    (found,) = on_clock(server, tmp_path, ahead_s)
    assert found.grade is Grade.FAILURE
    assert f"s {word} that of ZooKeeper" in found.what


def test_asking_for_the_time_leaves_nothing_in_the_store(server: ZooKeeperServer) -> None:
    async def ask() -> set[str]:
        tree = ZooKeeperTree(server.hosts, f"evenkeel/{FLEET}")
        store = FleetStore(tree)
        await store.start(lambda: None)
        assert await store.wait_in_step(10)
        before = set(tree.snapshot())
        await tree.now()
        left = set(tree.snapshot()) - before
        await store.close()
        return left

    assert asyncio.run(ask()) == set()
