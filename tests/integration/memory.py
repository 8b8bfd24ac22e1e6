"""The memory of a fleet in a directory, as another of its processes sees it and changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from lbnode.model.ids import NodeName
from lbnode.model.members import NodeMember
from lbnode.model.view import FleetView
from lbnode.store.files import FileTree
from lbnode.store.fleet import FleetStore
from tests.integration import cable as cables
from tests.integration.tunnel import NODE

FLEET = "demo"
TIMEOUT_S = 10.0

T = TypeVar("T")


def tree_of(directory: Path) -> FileTree:
    """The fleet's records where the settings of its machines, which lie in `directory`, have them."""
    return FileTree(directory / "store" / FLEET)


def in_store(tree: FileTree, work: Callable[[FleetStore], Awaitable[T]]) -> T:
    """Do something to the fleet's memory."""

    async def session() -> T:
        store = FleetStore(tree)
        await store.start(lambda: None)
        try:
            assert await store.wait_in_step(TIMEOUT_S)
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(session())


async def found_fleet(store: FleetStore, view: FleetView) -> None:
    """Write all of `view` into an empty store; its only member that sends is NODE."""
    assert view.identity is not None
    assert view.desired is not None
    await store.create_identity(view.identity)
    await store.write_desired(view.desired, -1)
    await store.put_node(NodeMember(NodeName("n1"), (NODE,), 1))
    for member in view.backends.values():
        await store.put_backend(member)
    for epochs in view.epochs.values():
        for epoch in epochs.values():
            await store.create_epoch(epoch)
            await store.set_current(epoch.pool, epoch.number)


async def until(store: FleetStore, holds: Callable[[FleetView], bool]) -> FleetView:
    """Wait until the fleet's memory is as `holds` wants it, and return it."""
    async with asyncio.timeout(TIMEOUT_S):
        while not holds(view := store.view()):
            await asyncio.sleep(cables.POLL_S)
    return view
