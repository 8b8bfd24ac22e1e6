"""A mirror of a ZooKeeper subtree, kept by watches.

One-shot data watches on every node and child watches on every folder (a node without data): kazoo's released
versions have no persistent watches. An event costs one read, and the read sets the next watch. Answers and
events arrive in the server's order (`client.OrderedHandler`), so applying them as they come never goes back
in time. What may be read at leisure (`interest`) is read once for all that happened to it meanwhile.

Where znodes are protected (`access`), each is judged once, when it is first read: its ACL is asked for together with
its data. A record that others could have written is left out with a message. A folder of that kind means that all
could be others': then nothing is believed, and `on_refused` is told.

"Settled": nothing that the server has told of is still being read, but for what is read at leisure. A new epoch is
then in the mirror if the record that names it is, because the server tells of the one before the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import structlog
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.protocol.states import EventType

from lbnode.store.access import Access
from lbnode.store.interest import Interest
from lbnode.store.judge import Judge
from lbnode.store.leisure import Leisure
from lbnode.store.tree import Entry

log = structlog.get_logger()

PATIENCE_S = 0.05
"""Under constant change the mirror is seldom settled: report at least this often."""


class Mirror:
    """The records below `root`. All methods belong to the loop; kazoo's threads only hand over."""

    def __init__(
        self,
        client: Any,
        root: str,
        entries: dict[str, Entry],
        strangers: set[str],
        interest: Interest,
        access: Access | None,
        on_settled: Callable[[], None],
        on_rootless: Callable[[], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._entries, self._strangers, self._interest = entries, strangers, interest
        self._judge = None if access is None else Judge(client, root, access)
        self._on_refused = on_refused
        self._client, self._root = client, root
        self._on_settled, self._on_rootless = on_settled, on_rootless
        self._loop = asyncio.get_running_loop()
        self._generation = 0
        self._pending = 0
        self._settled_once = self._changed = False
        self._watched: set[str] = set()
        self._children: dict[str, set[str]] = {}
        self._overdue: asyncio.TimerHandle | None = None
        self._leisure = Leisure(interest)
        self._waiting: list[asyncio.Future[None]] = []

    # -- life

    def restart(self) -> None:
        """Read everything again, over what is there: after a connection was made."""
        self.stop()
        self._settled_once = False
        self._fetch("")

    def stop(self) -> None:
        """Ignore whatever is still on its way: the connection is gone. The entries stay."""
        self._generation += 1
        self._pending = 0
        self._watched.clear()
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None
        self._leisure.forget()
        self._let_go()

    def hurry(self, hurried: bool) -> None:
        """Read nothing at leisure from now on, or do so again."""
        self._leisure.hurry(hurried)

    async def catch_up(self) -> bool:
        """Read what was left for later; return when it is here, when it takes long, or when contact is lost.

        False while something is still being read: a folder's list may be newer than the records in it.
        """
        if self._leisure.read() and self._pending:
            waiting = self._loop.create_future()
            self._waiting.append(waiting)
            await waiting
        return self._pending == 0

    def note(self, path: str, entry: Entry | None) -> None:
        """Take over what this client itself has just written, and have it watched.

        It is news to this process as well, unless it could have been read later.
        """
        if self._interest.skips(path):
            return
        had_news = self._changed
        self._set(path, entry)
        self._changed = had_news or (self._changed and not self._leisure.has_time(path))
        if entry is not None:
            self._soon(self._fetch, path)
        self._report()

    # -- asking

    def _fetch(self, path: str) -> None:
        if path in self._watched:
            return
        self._watched.add(path)
        if self._judge is not None and not self._judge.knows(path):
            self._ask(self._judge.ask(path), self._judge.hear, path)
        generation = self._generation
        watch = partial(self._hand_over, self._on_data_event, generation, path)
        self._ask(self._client.get_async(self._absolute(path), watch=watch), self._on_data, path)

    def _list(self, path: str) -> None:
        generation = self._generation
        watch = partial(self._hand_over, self._on_child_event, generation, path)
        self._ask(self._client.get_children_async(self._absolute(path), watch=watch), self._on_children, path)
        following = _following(self._children.get(path, ()))
        if following:
            self._fetch(_join(path, following))

    def _ask(self, result: Any, then: Callable[[str, Any], None], path: str) -> None:
        self._pending += 1
        result.rawlink(partial(self._hand_over, self._on_answer, self._generation, path, then))

    def _soon(self, ask: Callable[[str], None], path: str) -> None:
        """Ask for what has changed: now, or at leisure."""
        if self._leisure.has_time(path):
            self._leisure.leave(ask, path)
        else:
            ask(path)

    def _hand_over(self, function: Callable[..., None], *arguments: Any) -> None:
        """From a thread of kazoo's to the loop."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop has ended

    # -- hearing

    def _on_answer(self, generation: int, path: str, then: Callable[[str, Any], None], result: Any) -> None:
        if generation != self._generation:
            return
        self._pending -= 1
        try:
            answer = result.get()
        except NoNodeError:
            self._absent(path)
        except NoAuthError:
            self._closed(path)
        except KazooException as error:
            if not self._client.connected:
                return  # the next connection reads everything again
            log.error(
                "store: cannot read a record; check the ACL", path=self._absolute(path), reason=repr(error)
            )
        else:
            then(path, answer)
        if generation == self._generation:  # else what was heard ended the reading
            self._report()

    def _absent(self, path: str) -> None:
        self._watched.discard(path)
        self._drop(path)
        if not path:
            self._on_rootless()

    def _closed(self, path: str) -> None:
        """It may not be read: somebody else's, or this process has the wrong secret, or none."""
        if "/" not in path:  # all records of a kind, or of all kinds
            self._on_refused(path, "this process may not read it")
            return
        self._leave_out(path, "store: may not read a znode: left out", "this process may not read it")

    def _on_data(self, path: str, answer: Any) -> None:
        value, status = answer
        if self._judge is not None and not self._judge.is_judged(path, status):
            self._watched.discard(path)
            self._fetch(path)
        elif self._judge is not None and (complaint := self._judge.complaint(path)):
            self._refuse(path, complaint, is_folder=not value)
        elif value:
            self._set(path, Entry(value, status.version))
        else:
            self._set(path, None)
            self._list(path)

    def _refuse(self, path: str, complaint: str, is_folder: bool) -> None:
        if is_folder:
            self._on_refused(path, complaint)
            return
        self._leave_out(path, "store: a stranger's record: left out", complaint)

    def _leave_out(self, path: str, event: str, reason: str) -> None:
        if path not in self._strangers:
            log.error(event, znode=self._absolute(path), reason=reason)
            self._changed = True
        self._strangers.add(path)
        self._set(path, None)

    def _on_children(self, path: str, names: list[str]) -> None:
        for gone in self._children.get(path, set()) - set(names):
            self._drop(_join(path, gone))
        self._children[path] = set(names)
        for name in sorted(names):
            if not self._interest.skips(_join(path, name)):
                self._fetch(_join(path, name))

    def _on_data_event(self, generation: int, path: str, event: Any) -> None:
        if generation == self._generation and event.type != EventType.NONE:
            self._watched.discard(path)
            if self._judge is not None and event.type != EventType.CHANGED:
                self._judge.forget(path)
            self._soon(self._fetch, path)

    def _on_child_event(self, generation: int, path: str, event: Any) -> None:
        if generation == self._generation and event.type == EventType.CHILD:
            self._soon(self._list, path)

    # -- keeping

    def _set(self, path: str, entry: Entry | None) -> None:
        if entry is not None:
            self._strangers.discard(path)
        if self._entries.get(path) == entry:
            return
        self._changed = True
        if entry is None:
            del self._entries[path]
        else:
            self._entries[path] = entry

    def _drop(self, path: str) -> None:
        if path in self._strangers:
            self._strangers.discard(path)
            self._changed = True
        self._set(path, None)
        for name in self._children.pop(path, ()):
            self._drop(_join(path, name))

    def _report(self) -> None:
        if self._pending == 0:
            self._settle()
        elif self._changed and self._settled_once and self._overdue is None:
            self._overdue = self._loop.call_later(PATIENCE_S, self._settle)

    def _settle(self) -> None:
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None
        if self._changed or not self._settled_once:
            self._changed, self._settled_once = False, True
            self._on_settled()
        self._let_go()

    def _let_go(self) -> None:
        """Whoever waits for what is late need wait no longer."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def _absolute(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _following(names: Collection[str]) -> str:
    """Return the number after the last where records are numbered: most likely it is there when the list is read."""
    last = max(names, default="")
    return f"{int(last) + 1:0{len(last)}d}" if last.isdecimal() else ""
