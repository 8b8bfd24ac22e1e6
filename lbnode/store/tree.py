"""The port to the fleet's memory: a small tree of records with a local mirror, elections and liveness.

It is the part of ZooKeeper's semantics that evenkeel needs, no more: small values with versions,
compare-and-set, create as a test of "am I still the only writer", records that end with the process that
announced them, and one leader. Two implementations: `lbnode.store.zookeeper` for a fleet,
`lbnode.store.files` for one machine. Both pass the same contract tests (tests/integration/store).

What both promise:

- Reads come from a mirror in this process and never wait. `on_change` is called on the event loop after the
  mirror changed, once for many changes, and as a rule only when no change that was already announced is still
  being read.
- When a call returns, the mirror shows what it did, or something newer.
- A process may read less than everything, and some of it later than the rest (`lbnode.store.interest`).
- `Session.CONNECTED` is reported only when the mirror is in step, so nobody takes an empty mirror for an
  empty fleet. In any other state the mirror is the last known, and writes raise UnavailableError at once.
- A path is a record or a folder, never both. Folders come by themselves. Values are not empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

MAX_VALUE: Final = 1_000_000
"""Bytes in a value: just under what a ZooKeeper server takes in a packet (jute.maxbuffer, 1 MiB)."""

LEADER: Final = "leader"
"""The path that belongs to elections; no record can be written there."""

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@+-]{0,199}")


class StoreError(Exception):
    """Something that the store could not do. The base of every error of `lbnode.store`."""


class PathError(StoreError):
    """A path or a value that no store takes."""


class ExistsError(StoreError):
    """There is a record at the path already."""


class MissingError(StoreError):
    """There is no record at the path."""


class ConflictError(StoreError):
    """Somebody else changed the record first: read again, then decide again."""


class UnavailableError(StoreError):
    """The store is out of reach. Whether a write that was under way took place is not known."""


class Session(Enum):
    """What this process may assume of the store."""

    CONNECTED = "connected"
    """The store answers and the mirror is in step."""
    SUSPENDED = "suspended"
    """Out of reach, or reading again. What this process announced may still stand or not."""
    LOST = "lost"
    """No session. What this process announced is gone, or will be within the session timeout."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record's bytes and its version: 0 when created, one more with each write."""

    value: bytes
    version: int


def left_out(places: Collection[str]) -> str:
    """Say which records are strangers' and count for nothing; empty if there are none."""
    if not places:
        return ""
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"a stranger's record is left out: {min(places)}{more}: delete it"


class Campaign(Protocol):
    """One candidate's part in the election."""

    @property
    def leading(self) -> bool:
        """Whether this candidate is the leader now. Never true while the session is not CONNECTED."""

    async def withdraw(self) -> None:
        """Give up the leadership, or the candidacy. Calls `on_lost` if this candidate was leading."""


class Tree(Protocol):
    """The fleet's memory as one process sees it. All methods belong to the event loop that called `start`."""

    @property
    def session(self) -> Session:
        """What may be assumed now."""

    @property
    def leader(self) -> str | None:
        """The identity of the elected leader, by the mirror; None when nobody is."""

    @property
    def problem(self) -> str:
        """What others did to the store, or could have done, and what is not believed therefore; empty if nothing."""

    @property
    def address(self) -> str:
        """Where the store is, for people: hosts and path, or the directory."""

    async def start(self, on_change: Callable[[], None], on_session: Callable[[Session], None]) -> None:
        """Begin to connect, and return soon, store or no store; goes on trying until `close`."""

    async def close(self) -> None:
        """End the session: announced records and the candidacy end with it."""

    def get(self, path: str) -> Entry | None:
        """The record at `path` in the mirror."""

    def snapshot(self) -> Mapping[str, Entry]:
        """All records of the mirror; a copy. An unchanged record is the same object in the next snapshot."""

    async def catch_up(self) -> bool:
        """Have in the mirror what is usually read at leisure; returns soon, contact or no contact.

        False when some of it is still missing: then records that are there may be older than that others are not.
        """

    async def create(self, path: str, value: bytes) -> None:
        """Make a record of version 0. Raises ExistsError."""

    async def write(self, path: str, value: bytes, version: int) -> int:
        """Replace the record if it still has `version`; return the new one.

        Raises ConflictError, MissingError.
        """

    async def put(self, path: str, value: bytes) -> int:
        """Make or replace the record, whatever is there; return the new version."""

    async def delete(self, path: str, version: int | None = None) -> None:
        """End the record, if it still has `version` when one is given. Raises MissingError, ConflictError."""

    async def announce(self, path: str, value: bytes) -> None:
        """Hold a record that ends with this process, replacing what an earlier process announced there.

        Without a session it is remembered and returns at once: the record is made as soon as there is one,
        and again whenever a session was lost.
        """

    async def withdraw(self, path: str) -> None:
        """End a record that this process announced; nothing happens if it did not."""

    def campaign(
        self, identity: str, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> Campaign:
        """Stand for election until withdrawn, again after each loss. One campaign a tree at a time.

        `on_elected` and `on_lost` are called on the loop, alternately. Losing contact is losing the
        leadership, at once.
        """


def check_path(path: str) -> str:
    """Return `path` if it is one: parts of letters, digits, `._:@+-`, joined by slashes. Raises PathError."""
    parts = path.split("/")
    if not all(_PART.fullmatch(part) for part in parts):
        raise PathError(f"store: path {path!r}: use letters, digits and ._:@+- between slashes")
    if parts[0] == LEADER:
        raise PathError(f"store: path {path!r}: {LEADER} belongs to the election")
    return path


def check_value(path: str, value: bytes) -> bytes:
    """Return `value` if it has 1 to MAX_VALUE bytes. Raises PathError."""
    if not value:
        raise PathError(f"store: {path}: a record cannot be empty")
    if len(value) > MAX_VALUE:
        raise PathError(f"store: {path}: {len(value)} bytes, the most is {MAX_VALUE}: split the record")
    return value
