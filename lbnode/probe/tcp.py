"""The TCP connect probe: a backend is well when its tunnel address accepts a connection in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lbnode.model.fleet import HealthCheck
from lbnode.model.ids import BackendName, IPAddress, PoolName

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time left: closing sends RST and leaves no TIME_WAIT behind for every probe."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to probe and how."""

    address: IPAddress
    check: HealthCheck


Key = tuple[PoolName, BackendName]
OnResult = Callable[[PoolName, BackendName, bool, str], None]
"""Called with pool, backend, success, and why not (an empty string on success)."""


async def connect(target: Target) -> str:
    """Open and reset one connection; return why it failed, or an empty string."""
    family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
    probe = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(
            loop.sock_connect(probe, (str(target.address), target.check.port)), target.check.timeout_s
        )
    except TimeoutError:
        return f"no answer within {target.check.timeout_s:g} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    finally:
        probe.close()
    return ""


class TcpProber:
    """Probes a set of targets, each at its own interval, and reports every result."""

    def __init__(self, on_result: OnResult) -> None:
        self._on_result = on_result
        self._tasks: dict[Key, tuple[Target, asyncio.Task[None]]] = {}

    def set_targets(self, targets: Mapping[Key, Target]) -> None:
        """Probe exactly these from now on; a target that stays the same keeps its rhythm."""
        for key in [key for key, (target, _) in self._tasks.items() if targets.get(key) != target]:
            self._tasks.pop(key)[1].cancel()
        for key, target in targets.items():
            if key not in self._tasks:
                name = f"probe {key[0]}/{key[1]}"
                self._tasks[key] = (target, asyncio.create_task(self._probe(key, target), name=name))

    async def close(self) -> None:
        """Stop probing."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, key: Key, target: Target) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            failure = await connect(target)
            self._on_result(*key, not failure, failure)
            next_at = max(next_at + target.check.interval_s, loop.time())
            await asyncio.sleep(next_at - loop.time())
