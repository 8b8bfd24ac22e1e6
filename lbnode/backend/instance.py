"""One agent on one machine: its directories, the lock that keeps a second one out, its parts put together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from lbnode.backend.agent import Agent
from lbnode.backend.changes import HostChanges
from lbnode.backend.contact import ContactFile
from lbnode.backend.fleet import AgentFleet
from lbnode.backend.host import Host, undo
from lbnode.backend.settings import BackendSettings
from lbnode.daemon.hops import NextHops
from lbnode.daemon.lock import locked
from lbnode.daemon.memory import Memory
from lbnode.daemon.service import ServiceManager
from lbnode.daemon.tree import make_tree, read_access
from lbnode.netdev import Netlink
from lbnode.store.access import Access, Party
from lbnode.store.copy import DiskCopy
from lbnode.store.interest import OF_AGENTS

COMMAND = "lbbackend"


async def run(settings: BackendSettings) -> None:
    """Run the agent until SIGTERM or SIGINT; what it set up stays.

    Raises BadSettingsError, BackendError, NetdevError, DataPlaneError: it could not start.
    """
    access = read_access(settings.store, Party.BACKENDS)
    with locked(settings.run_dir, COMMAND):
        async with Netlink() as netlink:
            dirty = asyncio.Event()
            hops = NextHops(netlink, dirty.set)
            hops.start()
            try:
                host = await Host.open(settings, netlink, hops)
                with contextlib.closing(host):
                    await _run(settings, access, host, dirty)
            finally:
                await hops.close()


async def _run(settings: BackendSettings, access: Access | None, host: Host, dirty: asyncio.Event) -> None:
    tree = make_tree(settings.store, settings.fleet, OF_AGENTS, access)
    memory = Memory(tree, DiskCopy(settings.state_dir))
    fleet = AgentFleet(memory, ContactFile(settings.run_dir))
    agent = Agent(settings, fleet, host, dirty, ServiceManager.of(os.environ))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    await agent.run()


async def unload(settings: BackendSettings) -> HostChanges:
    """Undo all that agents did to this machine; return what it was. Raises BackendError while one runs."""
    with locked(settings.run_dir, COMMAND):
        async with Netlink() as netlink:
            return await undo(settings, netlink)
