"""A real store in a directory, and values to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from lbnode.store.files import FileTree
from lbnode.store.fleet import FleetStore


@pytest_asyncio.fixture
async def tree(tmp_path: Path) -> AsyncIterator[FileTree]:
    """A tree beside the store: to look at its records and to spoil them."""
    tree = FileTree(tmp_path / "store")
    await tree.start(lambda: None, lambda session: None)
    yield tree
    await tree.close()


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[FleetStore]:
    """An empty fleet store, connected."""
    store = FleetStore(FileTree(tmp_path / "store"))
    await store.start(lambda: None)
    assert await store.wait_in_step(5)
    yield store
    await store.close()
