"""ZooKeeper by mutual TLS: who gets in, and whose server is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lbnode.lab.zookeeper import ServerTls
from lbnode.model.access import Role
from lbnode.settings.tls import TlsSettings
from lbnode.store.client import Transport
from lbnode.store.tree import Session
from lbnode.store.zookeeper import ZooKeeperTree
from tests.certificates import Authority
from tests.integration.store.backing import SESSION_TIMEOUT_S, Observer
from tests.zookeeper import ZooKeeperServer

Open = Callable[[Transport | None], Awaitable[Observer]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    folder = tmp_path_factory.mktemp("zookeeper")
    made = authority.issue(Role.NODE, "zk1")
    (folder / "server.pem").write_bytes(made.key + made.certificate)
    (folder / "ca.pem").write_bytes(authority.pair.certificate)
    tls = ServerTls(folder / "server.pem", folder / "ca.pem")
    with ZooKeeperServer(folder, tick_ms=200, tls=tls) as server:
        yield server


@pytest_asyncio.fixture
async def connect(server: ZooKeeperServer) -> AsyncIterator[Open]:
    """Begin to connect; closed after the test."""
    observers: list[Observer] = []

    async def connect(transport: Transport | None) -> Observer:
        tree = ZooKeeperTree(server.hosts, "evenkeel/demo", SESSION_TIMEOUT_S, transport=transport)
        observers.append(Observer(tree))
        await observers[-1].start()
        return observers[-1]

    yield connect
    for observer in observers:
        await observer.tree.close()


def transport(authority: Authority, days: float = 100) -> Transport:
    return using(authority.write(authority.issue(Role.BACKEND, "b1", days)))


def using(files: TlsSettings) -> Transport:
    return Transport(files.certificate, files.key, files.ca)


async def refused(observer: Observer) -> str:
    """Wait until a connection was tried and failed; return why."""
    tree = observer.tree
    assert isinstance(tree, ZooKeeperTree)
    async with asyncio.timeout(10):
        while tree.last_word == "no answer yet":
            await asyncio.sleep(0.02)
    assert tree.session is not Session.CONNECTED
    return tree.last_word


async def test_members_get_in(connect: Open, authority: Authority) -> None:
    mine = await (await connect(transport(authority))).ready()
    await mine.tree.create("desired", b"x")
    assert mine.value("desired") == b"x"


async def test_nobody_gets_in_without_tls(connect: Open) -> None:
    assert await refused(await connect(None))


async def test_an_expired_certificate_does_not_get_in(
    connect: Open, authority: Authority, tmp_path: Path
) -> None:
    authority.folder = tmp_path
    assert "SSL" in await refused(await connect(transport(authority, days=-1)))


async def test_a_certificate_of_another_authority_does_not_get_in(
    connect: Open, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    forged = stranger.write(stranger.issue(Role.NODE, "n1"))
    forged.ca.write_bytes(authority.pair.certificate)
    assert "SSL" in await refused(await connect(using(forged)))


async def test_a_server_of_another_authority_is_not_believed(connect: Open, tmp_path: Path) -> None:
    reason = await refused(await connect(transport(Authority(tmp_path))))
    assert "certificate verify failed" in reason
