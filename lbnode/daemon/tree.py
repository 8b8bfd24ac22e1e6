"""The store that a daemon's settings name."""

from __future__ import annotations

from lbnode.settings.store import StoreSettings, ZooKeeperSettings
from lbnode.store.files import FileTree
from lbnode.store.interest import Interest
from lbnode.store.tree import Tree
from lbnode.store.zookeeper import ZooKeeperTree


def make_tree(store: StoreSettings, fleet: str, interest: Interest) -> Tree:
    """Return the store of `fleet`, not yet started; `interest`: what the daemon needs of it how soon."""
    if isinstance(store, ZooKeeperSettings):
        return ZooKeeperTree(",".join(store.hosts), f"evenkeel/{fleet}", interest=interest)
    return FileTree(store.path / fleet)
