"""Whose files and folders are believed.

Files of root, of this process's own user, and of the owner of the folder that the settings name: a daemon may run as a
user of its own, and an operator look at its files as root.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lbnode.store.tree import StoreError


def believed_owners(folder: Path) -> frozenset[int]:
    """Return the ids of the users whose files in `folder` count. Raises StoreError when they are not to be believed."""
    owner = folder.stat().st_uid
    here = os.geteuid()
    if here and owner not in (0, here):
        raise StoreError(f"{folder} belongs to user {owner}: chown it, or use another directory")
    return frozenset((0, here, owner))


def check_closed(folder: Path) -> None:
    """Raise StoreError when others than its owner could put something into a folder."""
    if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(f"others can write in {folder}: chmod go-w {folder}")
