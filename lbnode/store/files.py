"""The store of a single machine: `lbnode.store.tree` over a directory, for the processes of that machine.

All disk work runs, in order, in one thread; the mirror changes only on the loop. inotify tells of changes
(the journal grew) and of deaths (a session's file was closed), so both are noticed within milliseconds and
nothing polls.

The session is CONNECTED while the directory is there. If it vanishes or cannot be used, the session is LOST
until it is back; a daemon then goes on with its copy, as it does without ZooKeeper.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from lbnode.store.candidate import FileCandidate
from lbnode.store.directory import Changes, Directory, Stored
from lbnode.store.inotify import GONE, Mask
from lbnode.store.link import Link
from lbnode.store.news import News
from lbnode.store.tree import (
    LEADER,
    Entry,
    Session,
    StoreError,
    UnavailableError,
    check_path,
    check_value,
    left_out,
)

log = structlog.get_logger()

RETRY_S = 0.5
"""Seconds between attempts to open a directory that is not there."""

DEATH_CHECKS_S = (0.0, 0.002, 0.02, 0.2)
"""When to look for the dead after a session's file was closed: the lock is freed a little later."""


class FileTree:
    """`Tree` in a directory. See `lbnode.store.tree.Tree` for what the methods promise."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mirror: dict[str, Stored] = {}
        self._announced: dict[str, bytes] = {}
        self._news = News()
        self._link: Link | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = False
        self._refused = ""

    @property
    def session(self) -> Session:
        return self._news.session

    @property
    def leader(self) -> str | None:
        stored = self._mirror.get(LEADER)
        return stored.entry.value.decode() if stored else None

    @property
    def leads(self) -> bool:
        """Whether the leader's record is this session's."""
        stored = self._mirror.get(LEADER)
        return (
            self._link is not None and stored is not None and stored.session == self._link.directory.session
        )

    @property
    def problem(self) -> str:
        if self._link is None:
            return self._refused
        return left_out([str(self._root / "records" / path) for path in self._link.directory.left_out])

    @property
    def address(self) -> str:
        return str(self._root)

    # -- life

    async def start(self, on_change: Callable[[], None], on_session: Callable[[Session], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._news.start(on_change, on_session)
        problem = await self._open()
        if problem:
            log.error(
                "store: cannot use the directory; going on with the copy on disk, trying again",
                path=self.address,
                reason=problem,
                remedy="make it a directory that this user can write",
            )
            self.spawn(self._reopen())

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._unlink()
        self._worker.shutdown()
        self._news.become(Session.LOST)

    async def _open(self) -> str:
        """Begin a session and fill the mirror; return what is in the way, or nothing.

        Only the first time may a store be made: one that was there and is gone must come back as it was.
        """
        try:
            link = await self._loop.run_in_executor(self._worker, Link.open, self._root, not self._opened)
        except OSError as error:
            return str(error)
        except StoreError as error:
            self._refused = f"refused: {error}"
            return str(error)
        self._link, self._opened, self._refused = link, True, ""
        self._loop.add_reader(link.inotify.fd, self._on_inotify)
        self._replace(link.records)
        self._news.become(Session.CONNECTED)
        for path, value in tuple(self._announced.items()):
            await self.run(lambda to, path=path, value=value: to.put(path, value, to.session))  # type: ignore[misc]
        self.spawn(self._bury())
        return ""

    async def _reopen(self) -> None:
        await asyncio.sleep(RETRY_S)
        while await self._open():
            await asyncio.sleep(RETRY_S)
        log.info("store: the directory is back", path=self.address)

    async def _unlink(self) -> None:
        if self._link is None:
            return
        link, self._link = self._link, None
        self._loop.remove_reader(link.inotify.fd)
        link.inotify.close()
        await self._loop.run_in_executor(self._worker, link.directory.close)

    async def _lose(self, reason: str) -> None:
        if self._link is None:
            return
        log.error(
            "store: the directory is lost; going on with what is known, trying again",
            path=self.address,
            reason=reason,
            remedy="bring the directory back",
        )
        unlinked = asyncio.ensure_future(self._unlink())
        self._news.become(Session.LOST)
        await unlinked
        await self._reopen()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` until it ends or the tree is closed."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- reading

    def get(self, path: str) -> Entry | None:
        stored = self._mirror.get(check_path(path))
        return stored.entry if stored else None

    def snapshot(self) -> Mapping[str, Entry]:
        return {path: stored.entry for path, stored in self._mirror.items() if path != LEADER}

    async def catch_up(self) -> bool:
        """Nothing is left for later: a directory tells of changes at once, and costs nothing."""
        return True

    # -- writing

    async def create(self, path: str, value: bytes) -> None:
        _check(path, value)
        await self.run(lambda to: to.create(path, value))

    async def write(self, path: str, value: bytes, version: int) -> int:
        _check(path, value)
        return _version(path, await self.run(lambda to: to.write(path, value, version)))

    async def put(self, path: str, value: bytes) -> int:
        _check(path, value)
        return _version(path, await self.run(lambda to: to.put(path, value)))

    async def delete(self, path: str, version: int | None = None) -> None:
        check_path(path)
        await self.run(lambda to: to.delete(path, version))

    async def announce(self, path: str, value: bytes) -> None:
        _check(path, value)
        self._announced[path] = value
        if self.session is Session.CONNECTED:
            try:
                await self.run(lambda to: to.put(path, value, to.session))
            except UnavailableError as error:
                log.warning("store: cannot announce", path=path, reason=str(error))

    async def withdraw(self, path: str) -> None:
        check_path(path)
        if self._announced.pop(path, None) is not None and self.session is Session.CONNECTED:
            await self.run(lambda to: to.withdraw(path))

    def campaign(
        self, identity: str, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> FileCandidate:
        candidate = FileCandidate(self, identity, on_elected, on_lost)
        self._news.look = candidate.look
        candidate.look()
        return candidate

    async def run(self, job: Callable[[Directory], Changes]) -> Changes:
        """Let the worker do `job`, show the outcome in the mirror and return it. Raises UnavailableError."""
        if self._link is None or self.session is not Session.CONNECTED:
            raise UnavailableError(f"store {self.address}: the directory is not there: bring it back")
        try:
            changes = await self._loop.run_in_executor(self._worker, job, self._link.directory)
        except OSError as error:
            raise UnavailableError(f"store {self.address}: {error}") from error
        self._apply(changes)
        return changes

    # -- following

    def _on_inotify(self) -> None:
        if self._link is None:
            return
        events = self._link.inotify.read()
        masks = Mask(0)
        for event in events:
            masks |= event.mask
        if masks & (GONE | Mask.DELETE):  # open files keep a deleted directory alive: its parts tell first
            self.spawn(self._lose("removed, moved or unmounted"))
            return
        if masks & (Mask.MODIFY | Mask.MOVED_TO | Mask.OVERFLOW):
            self.spawn(self._follow())
        if masks & (Mask.CLOSE_WRITE | Mask.OVERFLOW):
            self.spawn(self._bury())

    async def _follow(self) -> None:
        """Read again what the journal names, or everything when it began anew."""
        link = self._link
        if link is None:
            return
        try:
            changes = await self._loop.run_in_executor(self._worker, link.news)
        except (OSError, StoreError) as error:
            await self._lose(str(error))
            return
        if changes is None:
            self._replace(link.records)
        else:
            self._apply(changes)

    async def _bury(self) -> None:
        for pause in DEATH_CHECKS_S:
            await asyncio.sleep(pause)
            try:
                if await self.run(lambda to: to.bury()):
                    return
            except StoreError:
                return  # whoever comes next looks again

    def _replace(self, records: Mapping[str, Stored]) -> None:
        gone: dict[str, Stored | None] = dict.fromkeys(self._mirror.keys() - records.keys())
        self._apply(gone | dict(records))

    def _apply(self, changes: Changes) -> None:
        changed = False
        for path, stored in changes.items():
            if self._mirror.get(path) == stored:
                continue
            changed = True
            if stored is None:
                del self._mirror[path]
            else:
                self._mirror[path] = stored
        if changed:
            self._news.notice()


def _check(path: str, value: bytes) -> None:
    check_path(path)
    check_value(path, value)


def _version(path: str, changes: Changes) -> int:
    stored = changes[path]
    assert stored is not None
    return stored.entry.version
