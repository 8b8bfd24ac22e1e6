"""What can go wrong between `lbctl` and a node, in words an operator can act on."""

from __future__ import annotations


class RpcError(Exception):
    """Base of everything that this package raises."""


class ListenError(RpcError):
    """The server cannot listen where it was told to."""


class WireError(RpcError):
    """A message that holds no valid value, say a malformed address."""


class UnreachableError(RpcError):
    """Nobody answers at the node's address, or not in time."""


class RefusedError(RpcError):
    """The node answered no. `remedy` may be empty; `invalid` tells that the request can never be granted."""

    def __init__(self, reason: str, remedy: str = "", *, invalid: bool = False) -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
        self.invalid = invalid
