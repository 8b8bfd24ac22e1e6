"""The network namespaces of labs: make, list, delete, and find the processes inside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lbnode.lab.plan import namespace_prefix
from lbnode.lab.shell import NETNS, run


def create(namespace: str) -> None:
    """Make a namespace."""
    run(["ip", "netns", "add", namespace])


def delete(namespace: str) -> None:
    """Delete a namespace and, with it, its links; also what an interrupted `create` left. Absent is fine."""
    if (NETNS / namespace).exists():
        run(["ip", "netns", "del", namespace])


def of_lab(lab: str) -> list[str]:
    """The namespaces that a lab has now, by name."""
    if not NETNS.is_dir():
        return []
    return sorted(entry.name for entry in NETNS.iterdir() if entry.name.startswith(namespace_prefix(lab)))


def labs() -> set[str]:
    """The names of the labs that have a namespace."""
    if not NETNS.is_dir():
        return set()
    parts = [entry.name.split("-") for entry in NETNS.iterdir()]
    return {words[1] for words in parts if len(words) == 3 and words[0] == "ek"}


def processes_in(namespaces: Iterable[str]) -> dict[int, str]:
    """Process id → namespace, for every process of the machine that lives in one of `namespaces`."""
    wanted = {identity: name for name in namespaces if (identity := _identity(NETNS / name)) is not None}
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            identity = _identity(entry / "ns" / "net")
            if identity in wanted:
                found[int(entry.name)] = wanted[identity]
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells one namespace from another (namespaces(7)); None when the process or name is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
