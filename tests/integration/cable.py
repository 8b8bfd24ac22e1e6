"""Two network namespaces and a cable: `far` plays router, node and client, `near` is tested."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
PATIENCE_S = 15.0
POLL_S = 0.02
MTU = 1600

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cable:
    """The names of both namespaces; in each, the cable's end is `eth0`: 10.0.0.1/24 far, 10.0.0.2/24 near."""

    far: str
    near: str


def ip(*words: str) -> str:
    """Run iproute2's `ip` and return what it says."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


def ip_json(*words: str) -> Any:
    return json.loads(ip("-j", *words) or "[]")


def inside(namespace: str, function: Callable[[], T]) -> T:
    """Run `function` in a thread that lives in `namespace`; sockets that it opens stay there."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            enter(namespace)
            results.append(function())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def enter(namespace: str) -> None:
    """Move the calling thread into `namespace`, for good."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)


def eventually(what: str, holds: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """Poll until `holds` gives something true, and return that; fail, naming `what`, if it takes too long."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {patience_s} s"
        time.sleep(POLL_S)
    return found


def connect(cable: Cable, index: int | None = None) -> None:
    """Lay the cable between the namespaces; `index`: of both its ends."""
    end = ["mtu", str(MTU), *(["index", str(index)] if index is not None else [])]
    near_end = ["type", "veth", "peer", "name", "eth0", "netns", cable.near, *end]
    ip("link", "add", "eth0", "netns", cable.far, *end, *near_end)
    for number, namespace in enumerate((cable.far, cable.near), 1):
        ip("-n", namespace, "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")


@contextmanager
def laid() -> Iterator[Cable]:
    """Make both namespaces and the cable; take all away at the end, whatever happened."""
    tag = f"ekt{os.getpid()}x{next(_numbers)}"
    cable = Cable(f"{tag}f", f"{tag}n")
    try:
        for namespace in (cable.far, cable.near):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        connect(cable)
        yield cable
    finally:
        for namespace in (cable.far, cable.near):
            if Path("/run/netns", namespace).exists():
                ip("netns", "del", namespace)
