"""The engine's health check of a container: `python -m lbnode.container.health node` (or backend).

Healthy is a node that announces VIPs to all its routers, and a backend whose agent runs and whose service takes
connections. What the fleet thinks of them is for `lbctl status`. Exit status 0, or 1 and why.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from lbnode.container.errors import ContainerError
from lbnode.container.identity import Kind

TIMEOUT_S = 3.0
METRICS = "127.0.0.1:9464"
AGENT_LOCK = Path("/run/evenkeel/backend/lbbackend.lock")
ROUTER_UP = "evenkeel_router_up{"
ANNOUNCED = "evenkeel_announced_addresses "


def check_node(metrics: str) -> None:
    """Raise ContainerError unless the node at `metrics` (host:port) tells all its routers of some VIP."""
    try:
        with urlopen(f"http://{metrics}/metrics", timeout=TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        raise ContainerError(f"metrics at {metrics}: {error}; see the container's log") from error
    sessions = [line for line in lines if line.startswith(ROUTER_UP)]
    down = [line for line in sessions if not line.endswith(" 1.0")]
    if down or not sessions:
        raise ContainerError(f"BGP sessions that are not up: {len(down)} of {len(sessions)}; lbctl status")
    if not any(line.startswith(ANNOUNCED) and float(line.split()[1]) > 0 for line in lines):
        raise ContainerError("no VIP is announced, so no packet comes here; lbctl status says why")


def check_backend(port: int, lock: Path) -> None:
    """Raise ContainerError unless the agent holds `lock` and the service takes connections on `port`."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    except OSError as error:
        raise ContainerError(f"{lock}: {error.strerror}: the agent has not started yet") from error
    else:
        raise ContainerError("the agent does not run; see the container's log")
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    except OSError as error:
        raise ContainerError(f"the service at port {port}: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Check once; return the exit status."""
    try:
        if arguments == [Kind.NODE.value]:
            check_node(os.environ.get("EVENKEEL_METRICS__LISTEN", METRICS))
        elif arguments == [Kind.BACKEND.value]:
            check_backend(int(os.environ.get("EVENKEEL_SERVICE_PORT", "80")), AGENT_LOCK)
        else:
            raise ContainerError("usage: python -m lbnode.container.health node | backend")
    except ContainerError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
