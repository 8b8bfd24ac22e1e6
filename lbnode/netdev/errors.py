"""What can go wrong with the kernel's network configuration."""

from __future__ import annotations

from collections.abc import Iterable


class NetdevError(Exception):
    """A request to the kernel's network configuration failed; the message reads as a path."""


class ReadOnlyError(NetdevError):
    """The kernel's settings can only be read here, as in a container."""


class InterfaceMissingError(NetdevError):
    """There is no interface of that name in this network namespace."""

    def __init__(self, name: str, present: Iterable[str]) -> None:
        have = ", ".join(sorted(present)) or "none"
        super().__init__(f"interface {name}: no such interface; have: {have}")
        self.name = name
