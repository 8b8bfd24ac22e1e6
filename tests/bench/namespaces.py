"""Network namespaces without a name: whatever ends the bench, SIGKILL included, they and their links end with it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, run
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_HERE = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace of this process alone."""

    def __init__(self) -> None:
        with _coming_back():
            _check(_libc.unshare(_CLONE_NEWNET), "unshare the network namespace")
            self._descriptor = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self) -> str:
        """What `ip link … netns` takes."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread, and what it starts, live in the namespace."""
        with _coming_back():
            _check(_libc.setns(self._descriptor, _CLONE_NEWNET), "enter a network namespace")
            yield

    def run(self, *commands: str, script: str | None = None) -> None:
        """Run commands in the namespace, each fed `script`; raises CalledProcessError at the first that fails."""
        with self.entered():
            for command in commands:
                run(command.split(), check=True, input=script, text=True, stdout=DEVNULL, timeout=30)

    def close(self) -> None:
        """End the namespace, unless something else still holds it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _coming_back() -> Iterator[None]:
    with open(_HERE) as before:
        try:
            yield
        finally:
            _check(_libc.setns(before.fileno(), _CLONE_NEWNET), "leave a network namespace")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}; it needs CAP_SYS_ADMIN")
