"""The fleet's memory, read once in a session of the doctor's own: is it there, whole, and what time has it?"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lbnode.daemon.tree import make_tree, read_access
from lbnode.doctor.facts import ClockFacts, HostFacts, StoreFacts
from lbnode.model.view import FleetView
from lbnode.settings.store import StoreSettings, ZooKeeperSettings
from lbnode.store.access import Party
from lbnode.store.copy import DiskCopy
from lbnode.store.ensemble import ask_server
from lbnode.store.fleet import FleetStore
from lbnode.store.interest import EVERYTHING
from lbnode.store.tree import StoreError, Tree
from lbnode.store.zookeeper import ZooKeeperTree

SESSION_S = 2.0
"""How long the doctor waits for a whole view of the fleet."""
TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
TIMEX_BYTES = 256

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read: a view, from the copy on disk where the store does not answer (`trouble` says why)."""

    tree: Tree
    reader: FleetStore
    view: FleetView
    trouble: str
    records: int

    def look(self) -> FleetView:
        """Return what the store says now; raises StoreError."""
        return self.reader.view()


@asynccontextmanager
async def opened(store: StoreSettings, fleet: str, state_dir: Path, party: Party) -> AsyncIterator[Memory]:
    """Open a session as a daemon of `party`, read the fleet, and end the session afterwards.

    Never raises for a store that is out of reach. Raises BadSettingsError for secrets that cannot be used.
    """
    known = DiskCopy(state_dir).load().view
    tree = make_tree(store, fleet, EVERYTHING, read_access(store, party))
    reader = FleetStore(tree, known.identity.uuid if known and known.identity else None, known)
    try:
        trouble = await _start(reader)
        yield await _read(tree, reader, known or FleetView(), trouble)
    finally:
        with contextlib.suppress(StoreError):
            await reader.close()


async def _start(reader: FleetStore) -> str:
    """Connect; return why there is no view of the store's, or an empty string."""
    try:
        await reader.start(lambda: None)
    except StoreError as error:
        return str(error)
    return "" if await reader.wait_in_step(SESSION_S) else f"no session within {SESSION_S:g} s"


async def _read(tree: Tree, reader: FleetStore, known: FleetView, trouble: str) -> Memory:
    if trouble:
        return Memory(tree, reader, known, trouble, 0)
    try:
        view = reader.view()
    except StoreError as error:
        return Memory(tree, reader, known, str(error), 0)
    if view.identity is None:
        trouble = "holds no fleet yet: has a node ever been started with this store?"
        return Memory(tree, reader, view, trouble, 0)
    return Memory(tree, reader, view, "", len(tree.snapshot()))


async def store(memory: Memory, settings: StoreSettings) -> StoreFacts:
    """Look at every server of the store."""
    hosts: tuple[HostFacts, ...] = ()
    if isinstance(settings, ZooKeeperSettings):
        hosts = tuple(await asyncio.gather(*(_server(host) for host in settings.hosts)))
    return StoreFacts(memory.tree.address, memory.trouble, hosts, memory.records)


async def _server(host: str) -> HostFacts:
    said = await ask_server(host)
    return HostFacts(host, said.trouble, said.mode)


async def clock(memory: Memory, now: Callable[[], float] = time.time) -> ClockFacts:
    """Compare `now`, this machine's clock, with that of the store's servers."""
    tree = memory.tree
    if not isinstance(tree, ZooKeeperTree):
        return ClockFacts("this machine alone", 0.0, 0.0, True)
    if memory.trouble:
        return own_clock()
    before = now()
    try:
        there = await tree.now()
    except StoreError:
        return own_clock()
    after = now()
    return ClockFacts("ZooKeeper", (before + after) / 2 - there, (after - before) / 2, is_synchronised())


def own_clock() -> ClockFacts:
    """Look at this machine's clock, with nothing to compare it with."""
    return ClockFacts("", None, 0.0, is_synchronised())


def is_synchronised() -> bool:
    """Whether a time service keeps the kernel's clock."""
    return int(_libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))) != TIME_ERROR
