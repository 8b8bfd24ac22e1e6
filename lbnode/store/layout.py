"""The root of a fleet in ZooKeeper and, where znodes are protected, the folders that agents could not make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kazoo.exceptions import KazooException, NodeExistsError

from lbnode.store.access import FOLDERS, ROOT, Access


def make_folders(client: Any, root: str, access: Access | None, then: Callable[[str], None]) -> None:
    """Make what is missing of them, then call `then` on the loop with what could not be made.

    That matters only where the root is missing: an ancestor that exists may well be closed to us. An agent of a
    protected fleet makes nothing. All is asked for at once: ZooKeeper answers in the order of the questions.
    """
    loop = asyncio.get_running_loop()
    wanted = _wanted(root, access)
    problems: list[str] = []
    answers = 0

    def made(path: str, result: Any) -> None:
        """In kazoo's thread, one answer after the other."""
        nonlocal answers
        answers += 1
        if result.exception is not None and not isinstance(result.exception, NodeExistsError):
            problems.append(f"make {path}: {result.exception!r}")
        if answers == len(wanted):
            loop.call_soon_threadsafe(then, "; ".join(problems))

    try:
        for path, acl in wanted.items():
            client.create_async(path, acl=acl).rawlink(lambda result, path=path: made(path, result))
    except KazooException as error:
        loop.call_soon(then, repr(error))
    if not wanted:
        loop.call_soon(then, "")


def _wanted(root: str, access: Access | None) -> dict[str, Any]:
    """Absolute paths in the order in which they are made, with their ACLs; None is an open znode."""
    parts = root.strip("/").split("/")
    ancestors = ["/" + "/".join(parts[:depth]) for depth in range(1, len(parts))]
    if access is None:
        return dict.fromkeys([*ancestors, root])
    if not access.makes_folders:
        return {}
    wanted = dict.fromkeys(ancestors, access.ancestors_acl())
    return {**wanted, root: access.acl(ROOT), **{f"{root}/{path}": access.acl(path) for path in FOLDERS}}
