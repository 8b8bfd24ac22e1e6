"""Single requests to ZooKeeper, awaited on the loop, with the port's errors; what they change shows in the
mirror.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lbnode.store.access import Access
from lbnode.store.client import LastWord, translated
from lbnode.store.mirror import Mirror
from lbnode.store.tree import ConflictError, Entry, UnavailableError


class Requests:
    """What one client asks of the records below `root`. Paths are the port's. On the loop."""

    def __init__(
        self,
        client: Any,
        root: str,
        mirror: Mirror,
        timeout_s: float,
        last_word: LastWord,
        access: Access | None,
    ) -> None:
        self._client, self._root, self._mirror, self._access = client, root, mirror, access
        self._timeout_s, self._last_word = timeout_s, last_word
        self._loop = asyncio.get_running_loop()
        self.open = False
        """Whether to ask at all: the tree says so, by its session."""

    async def create(self, path: str, value: bytes, ephemeral: bool = False) -> None:
        """Make a record. Raises ExistsError."""
        where = self.absolute(path)
        await self._ask(
            "create",
            path,
            lambda: self._client.create_async(
                where, value, acl=self._acl(path), ephemeral=ephemeral, makepath=True
            ),
        )
        self._note(path, Entry(value, 0))

    async def made_at(self, path: str) -> float:
        """Make a record that ends with the session, and return when, by the servers' wall clock (seconds)."""
        where = self.absolute(path)
        _, status = await self._ask(
            "create",
            path,
            lambda: self._client.create_async(
                where, b"-", acl=self._acl(path), ephemeral=True, makepath=True, include_data=True
            ),
        )
        return float(status.ctime) / 1000

    async def set(self, path: str, value: bytes, version: int) -> int:
        """Replace a record, whatever its version if that is -1. Raises MissingError, ConflictError."""
        where = self.absolute(path)
        status = await self._ask("write", path, lambda: self._client.set_async(where, value, version=version))
        self._note(path, Entry(value, status.version))
        return int(status.version)

    async def delete(self, path: str, version: int) -> None:
        """Delete a record, whatever its version if that is -1. Raises MissingError, ConflictError."""
        where = self.absolute(path)
        await self._ask("delete", path, lambda: self._client.delete_async(where, version=version))
        self._note(path, None)

    async def status(self, path: str) -> Any:
        """Return ZooKeeper's record of a node (kazoo's ZnodeStat), None if there is no such node."""
        return await self._ask("look at", path, lambda: self._client.exists_async(self.absolute(path)))

    async def take_over(self, path: str, value: bytes, version: int) -> None:
        """Replace another session's record by one of this session's, in one step: nobody sees it missing.

        Raises ConflictError when the record has changed.
        """
        transaction = self._client.transaction()
        transaction.delete(self.absolute(path), version=version)
        transaction.create(self.absolute(path), value, acl=self._acl(path), ephemeral=True)
        outcome = await self._ask("announce", path, transaction.commit_async)
        if any(isinstance(step, Exception) for step in outcome):
            raise ConflictError(f"{self._where('announce', path)}: {outcome!r}")
        self._note(path, Entry(value, 0))

    def is_mine(self, status: Any) -> bool:
        """Whether a node belongs to this client's session."""
        return status is not None and self.session is not None and status.ephemeralOwner == self.session

    @property
    def session(self) -> int | None:
        """The id of this client's session, None before there was one."""
        mine = self._client.client_id
        return None if mine is None else int(mine[0])

    def absolute(self, path: str) -> str:
        """The znode of a record."""
        return f"{self._root}/{path}"

    def _acl(self, path: str) -> Any:
        return None if self._access is None else self._access.acl(path)

    async def _ask(self, verb: str, path: str, issue: Callable[[], Any]) -> Any:
        if not self.open:
            raise UnavailableError(
                f"{self._where(verb, path)}: out of reach: start ZooKeeper ({self._last_word.text})"
            )
        answer: asyncio.Future[Any] = self._loop.create_future()

        def answered(result: Any) -> None:
            self._loop.call_soon_threadsafe(_settle, answer, result)

        with translated(self._where(verb, path)):
            issue().rawlink(answered)
            return await asyncio.wait_for(answer, self._timeout_s)

    def _note(self, path: str, entry: Entry | None) -> None:
        if self.open:
            self._mirror.note(path, entry)

    def _where(self, verb: str, path: str) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self._client.hosts)
        return f"store {hosts}{self._root}: {verb} {path}"


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return
    if result.exception is None:
        answer.set_result(result.value)
    else:
        answer.set_exception(result.exception)
