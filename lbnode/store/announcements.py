"""What this process says of itself in ZooKeeper: ephemeral records that come back after a lost session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from lbnode.store.requests import Requests
from lbnode.store.tree import ConflictError, ExistsError, MissingError, StoreError, UnavailableError

log = structlog.get_logger()

RACES = 8
"""How often to try again when others change the same record between two steps."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is known of a record that this process announced: in which session, and the version then."""

    session: int | None
    version: int


class Announcements:
    """The records that this process wants to stand, by path; `restore` makes them after a connection.

    A record that this session has written last is replaced at once; only when that fails is it looked at first.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._wanted: dict[str, bytes] = {}
        self._held: dict[str, _Held] = {}
        self._one_at_a_time = asyncio.Lock()

    async def announce(self, path: str, value: bytes) -> None:
        """Want a record, and make it now if there is contact."""
        self._wanted[path] = value
        try:
            await self._hold(path)
        except UnavailableError:
            pass  # made with the next connection

    async def withdraw(self, path: str) -> None:
        """Want a record no more, and delete it if it is this session's."""
        async with self._one_at_a_time:
            self._held.pop(path, None)
            if self._wanted.pop(path, None) is None or not self._requests.open:
                return
            if self._requests.is_mine(await self._requests.status(path)):
                await self._requests.delete(path, -1)

    async def restore(self) -> None:
        """Make what is wanted and missing: after a connection was made."""
        try:
            for path in tuple(self._wanted):
                await self._hold(path)
        except StoreError as error:
            log.warning("store: cannot announce yet", reason=str(error))

    async def _hold(self, path: str) -> None:
        """Let the record say what was last wanted, and belong to this session."""
        async with self._one_at_a_time:
            for _ in range(RACES):
                value = self._wanted.get(path)
                if value is None:
                    return
                try:
                    await self._try_to_hold(path, value)
                    return
                except (ExistsError, MissingError, ConflictError):
                    continue
            log.error("store: another process announces the same", path=path, remedy="give each its own name")

    async def _try_to_hold(self, path: str, value: bytes) -> None:
        session, held = self._requests.session, self._held.pop(path, None)
        if held is not None and held.session == session:
            version = await self._requests.set(path, value, held.version)
        else:
            version = await self._look_and_hold(path, value)
        self._held[path] = _Held(session, version)

    async def _look_and_hold(self, path: str, value: bytes) -> int:
        """Return the version that the record has then."""
        status = await self._requests.status(path)
        if status is None:
            await self._requests.create(path, value, ephemeral=True)
            return 0
        if self._requests.is_mine(status):
            return await self._requests.set(path, value, -1)
        await self._requests.take_over(path, value, status.version)
        return 0
