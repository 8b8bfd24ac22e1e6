"""The store of a fleet: `lbnode.store.tree` over ZooKeeper, by kazoo.

Records are znodes below a root such as /evenkeel/<fleet>; folders are znodes without data. `start` returns at
once and the connection is tried for ever in kazoo's threads, which hand everything over to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping

import structlog
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState

from lbnode.store.access import Access
from lbnode.store.announcements import RACES, Announcements
from lbnode.store.client import LastWord, Transport, make_client
from lbnode.store.election import ZooKeeperCandidate
from lbnode.store.interest import EVERYTHING, Interest
from lbnode.store.layout import make_folders
from lbnode.store.mirror import Mirror
from lbnode.store.news import News
from lbnode.store.refusal import Refusal
from lbnode.store.requests import Requests
from lbnode.store.tree import (
    LEADER,
    ConflictError,
    Entry,
    ExistsError,
    MissingError,
    Session,
    StoreError,
    check_path,
    check_value,
    left_out,
)

log = structlog.get_logger()

SESSION_TIMEOUT_S = 6.0
"""What a dead process's live record and leadership may outlive it by."""

COMPLAIN_AFTER_S = 2.0
COMPLAIN_AGAIN_S = 60.0
STOP_PATIENCE_S = 5.0
CATCH_UP_S = 0.5
CLOCK = "reports/clock"
"""Where `now` makes a record for a moment: nodes and agents may write there, and no reader minds it."""

FORGET_AFTER_SESSIONS = 2
"""After so many session timeouts without contact the client no longer asks for a server that has seen all it has."""


class ZooKeeperTree:
    """`Tree` in ZooKeeper. See `lbnode.store.tree.Tree` for what the methods promise.

    `hosts` is "host:port,host:port"; `root` the znode under which everything lies; `interest` says what of it this
    process needs how soon; `access` who it is and who may do what: without it everything is open to everybody.
    `transport` is for servers that speak TLS.
    """

    def __init__(
        self,
        hosts: str,
        root: str,
        session_timeout_s: float = SESSION_TIMEOUT_S,
        interest: Interest = EVERYTHING,
        access: Access | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._interest, self._access = interest, access
        self._hosts, self._root = hosts, "/" + root.strip("/")
        self._timeout_s = session_timeout_s
        self._last_word = LastWord()
        self._client = make_client(hosts, session_timeout_s, self._last_word, access, transport)
        self._connection = 0
        self._news = News()
        self._candidate: ZooKeeperCandidate | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._complaint: asyncio.Task[None] | None = None
        self._oblivion: asyncio.TimerHandle | None = None
        self._entries: dict[str, Entry] = {}
        self._strangers: set[str] = set()
        self._leader: str | None = None
        self._unmade = ""
        self._refusal = Refusal(self._look_again)

    @property
    def session(self) -> Session:
        return self._news.session

    @property
    def connection(self) -> int:
        """Grows whenever the connection comes or goes; may be read in any thread."""
        return self._connection

    @property
    def leader(self) -> str | None:
        return self._leader

    @property
    def problem(self) -> str:
        return self._refusal.problem or left_out([self._absolute(path) for path in self._strangers])

    @property
    def last_word(self) -> str:
        """Why there was no contact when it was last looked for."""
        return self._last_word.text

    @property
    def address(self) -> str:
        return f"{self._hosts}{self._root}"

    # -- life

    async def start(self, on_change: Callable[[], None], on_session: Callable[[Session], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._news.start(on_change, on_session)
        self._mirror = Mirror(
            self._client,
            self._root,
            self._entries,
            self._strangers,
            self._interest,
            self._access,
            on_settled=self._settled,
            on_rootless=self._rootless,
            on_refused=self._refuse,
        )
        self._requests = Requests(
            self._client, self._root, self._mirror, self._timeout_s, self._last_word, self._access
        )
        self._announcements = Announcements(self._requests)
        self._client.add_listener(self._heard)
        self._complain()
        self._client.start_async()

    async def close(self) -> None:
        self._client.remove_listener(self._heard)
        self._remember()
        self._mirror.stop()
        self._refusal.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._candidate is not None:
            self._candidate.abandon()
        self._connection += 1
        self._become(Session.LOST)
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        """End the session and kazoo's threads. Blocks."""
        try:
            self._client.stop()
            self._client.close()
        except KazooException as error:
            log.warning("store: kazoo did not stop cleanly", reason=repr(error))
        if self._candidate is not None:
            self._candidate.thread.join(STOP_PATIENCE_S)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- the session

    def _heard(self, state: str) -> None:
        """From kazoo's connection thread."""
        self._connection += 1
        if self._candidate is not None:
            self._candidate.disturb()
        self._loop.call_soon_threadsafe(self._follow, state)

    def _follow(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            log.info("store: connected, reading", store=self.address)
            self._remember()
            self._make_root()
            return
        self._mirror.stop()
        self._forget_later()
        if state == KazooState.SUSPENDED:
            log.warning(
                "store: connection lost, trying again", store=self.address, reason=self._last_word.text
            )
            self._become(Session.SUSPENDED)
        else:
            log.warning("store: session lost, trying again", store=self.address)
            self._become(Session.LOST)
        self._complain()

    def _forget_later(self) -> None:
        """Let the client forget, in a while, how far its server had come.

        A server that has seen less closes the connection without a word. That keeps clients from one that lags behind,
        but from one that was wiped or restored from a backup too, for ever, and nobody would know why. Who looks at the
        records sees (`lbnode.store.fleet`, `lbnode.core.regression`), refuses them and says so.
        """
        if self._oblivion is None:
            delay_s = FORGET_AFTER_SESSIONS * self._timeout_s
            self._oblivion = self._loop.call_later(delay_s, setattr, self._client, "last_zxid", 0)

    def _remember(self) -> None:
        if self._oblivion is not None:
            self._oblivion.cancel()
            self._oblivion = None

    def _make_root(self) -> None:
        """Make the root where it is missing, then read everything."""
        make_folders(self._client, self._root, self._access, self._root_made)

    def _root_made(self, problem: str) -> None:
        self._unmade = problem
        if self._client.connected:
            self._mirror.restart()

    def _rootless(self) -> None:
        """There is no root: it was deleted, or only others may make it."""
        if self._access is not None and not self._access.makes_folders:
            self._last_word.text = f"{self._root} is not there yet: start a node of this fleet"
        elif self._unmade:
            log.error("store: cannot make the root; check rights", store=self.address, reason=self._unmade)
        else:
            self._make_root()
            return
        self._mirror.stop()
        self._become(Session.SUSPENDED)
        self._refusal.wait()

    def _refuse(self, path: str, reason: str) -> None:
        """Believe nothing that is in the store: it is not this fleet's alone."""
        self._mirror.stop()
        if self._complaint is not None:
            self._complaint.cancel()
        self._refusal.refuse(self._absolute(path), reason)
        self._become(Session.SUSPENDED)

    def _absolute(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _look_again(self) -> None:
        if self._client.connected:
            self._make_root()

    def _settled(self) -> None:
        self._refusal.accept()
        self._leader = _first_contender(self._entries)
        if self.session is not Session.CONNECTED:
            if self._complaint is not None:
                self._complaint.cancel()
            log.info("store: in step", store=self.address, records=len(self._entries))
            self._become(Session.CONNECTED)
            self._spawn(self._announcements.restore())
        self._news.notice()

    def _become(self, session: Session) -> None:
        self._requests.open = session is Session.CONNECTED
        self._news.become(session)

    def _complain(self) -> None:
        if self._complaint is None or self._complaint.done():
            self._complaint = self._spawn(self._complain_until_in_step())

    async def _complain_until_in_step(self) -> None:
        pause, since = COMPLAIN_AFTER_S, self._loop.time()
        while True:
            await asyncio.sleep(pause)
            pause = COMPLAIN_AGAIN_S
            log.error(
                "store: ZooKeeper out of reach; going on with what is known, trying again",
                hosts=self._hosts,
                for_s=round(self._loop.time() - since),
                reason=self._last_word.text,
                remedy="start ZooKeeper, or correct the hosts in the settings, or open its port",
            )

    # -- reading

    def get(self, path: str) -> Entry | None:
        return self._entries.get(check_path(path))

    def snapshot(self) -> Mapping[str, Entry]:
        return {path: entry for path, entry in self._entries.items() if not path.startswith(f"{LEADER}/")}

    async def catch_up(self) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._mirror.catch_up(), CATCH_UP_S)
        return False

    async def now(self) -> float:
        """Return the servers' wall clock, in seconds: a record is made for it, and taken away."""
        path = f"{CLOCK}-{self._requests.session or 0:x}"
        try:
            return await self._requests.made_at(path)
        finally:
            with contextlib.suppress(StoreError):
                await self._requests.delete(path, -1)

    # -- writing

    async def create(self, path: str, value: bytes) -> None:
        check_value(check_path(path), value)
        await self._requests.create(path, value)

    async def write(self, path: str, value: bytes, version: int) -> int:
        check_value(check_path(path), value)
        return await self._requests.set(path, value, version)

    async def put(self, path: str, value: bytes) -> int:
        check_value(check_path(path), value)
        for _ in range(RACES):
            try:
                return await self._requests.set(path, value, -1)
            except MissingError:
                pass
            try:
                await self._requests.create(path, value)
                return 0
            except ExistsError:
                pass
        raise ConflictError(f"store {self.address}: put {path}: others make and delete it all the time")

    async def delete(self, path: str, version: int | None = None) -> None:
        await self._requests.delete(check_path(path), -1 if version is None else version)

    async def announce(self, path: str, value: bytes) -> None:
        check_value(check_path(path), value)
        await self._announcements.announce(path, value)

    async def withdraw(self, path: str) -> None:
        await self._announcements.withdraw(check_path(path))

    # -- leadership

    def campaign(
        self, identity: str, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> ZooKeeperCandidate:
        def elected() -> None:
            self._mirror.hurry(True)
            on_elected()

        def lost() -> None:
            self._mirror.hurry(False)
            on_lost()

        path = self._requests.absolute(LEADER)
        self._candidate = ZooKeeperCandidate(self, self._client, path, identity, (elected, lost))
        self._news.look = self._candidate.look
        return self._candidate


def _first_contender(entries: Mapping[str, Entry]) -> str | None:
    """Whose node has the lowest number: who leads, by kazoo's election recipe."""
    contenders = [path for path in entries if path.startswith(f"{LEADER}/") and path[-10:].isdigit()]
    first = min(contenders, key=lambda path: path[-10:], default=None)
    return entries[first].value.decode(errors="replace") if first else None
