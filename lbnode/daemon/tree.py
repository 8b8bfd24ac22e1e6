"""The store that a daemon's settings name."""

from __future__ import annotations

from lbnode.settings.store import StoreSettings, ZooKeeperSettings
from lbnode.store.files import FileTree
from lbnode.store.tree import Tree
from lbnode.store.zookeeper import ZooKeeperTree


def make_tree(store: StoreSettings, fleet: str) -> Tree:
    """Return the store of `fleet`, not yet started."""
    if isinstance(store, ZooKeeperSettings):
        return ZooKeeperTree(",".join(store.hosts), f"evenkeel/{fleet}")
    return FileTree(store.path / fleet)
