"""One agent on one machine: its directories, the lock that keeps a second one out, its parts put together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator

from lbnode.backend.agent import Agent
from lbnode.backend.changes import HostChanges
from lbnode.backend.errors import BackendError
from lbnode.backend.fleet import AgentFleet
from lbnode.backend.host import Host, undo
from lbnode.backend.settings import BackendSettings
from lbnode.netdev import Netlink
from lbnode.settings.store import ZooKeeperSettings
from lbnode.store.copy import DiskCopy
from lbnode.store.files import FileTree
from lbnode.store.tree import Tree
from lbnode.store.zookeeper import ZooKeeperTree

LOCK_FILE = "agent.lock"


async def run(settings: BackendSettings) -> None:
    """Run the agent until SIGTERM or SIGINT; what it set up stays.

    Raises BackendError, NetdevError, DataPlaneError: it could not start.
    """
    with locked(settings):
        async with Netlink() as netlink:
            host = await Host.open(settings, netlink)
            with contextlib.closing(host):
                agent = Agent(settings, AgentFleet(make_tree(settings), DiskCopy(settings.state_dir)), host)
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, agent.stop)
                await agent.run()


async def unload(settings: BackendSettings) -> HostChanges:
    """Undo all that agents did to this machine; return what it was. Raises BackendError while one runs."""
    with locked(settings):
        async with Netlink() as netlink:
            return await undo(settings, netlink)


def make_tree(settings: BackendSettings) -> Tree:
    """Return the store that the settings name, not yet started."""
    store = settings.store
    if isinstance(store, ZooKeeperSettings):
        return ZooKeeperTree(",".join(store.hosts), f"evenkeel/{settings.fleet}")
    return FileTree(store.path / settings.fleet)


@contextlib.contextmanager
def locked(settings: BackendSettings) -> Iterator[None]:
    """Hold the instance, so that two agents never work on one machine. Ends with the process."""
    path = settings.run_dir / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BackendError(f"{path}: {error.strerror}; run as root or set run_dir") from error
    try:
        _lock(descriptor, settings)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def running_pid(settings: BackendSettings) -> int | None:
    """Return the process id of the agent that holds the instance; None when nobody does."""
    path = settings.run_dir / LOCK_FILE
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(path.read_text() or 0)
    return None


def _lock(descriptor: int, settings: BackendSettings) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 32).decode().strip()
        remedy = "stop it first, or give this one its own run_dir and state_dir"
        raise BackendError(f"{settings.run_dir}: the agent runs as process {pid}; {remedy}") from error
