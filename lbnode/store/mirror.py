"""A mirror of a ZooKeeper subtree, kept by watches.

One-shot data watches on every node and child watches on every folder (a node without data): kazoo's released
versions have no persistent watches. An event costs one read, and the read sets the next watch. Answers and
events arrive in the server's order (`client.OrderedHandler`), so applying them as they come never goes back
in time.

"Settled": nothing that the server has told of is still being read. A new epoch is then in the mirror if the
record that names it is, because the server tells of the one before the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.protocol.states import EventType

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
        on_settled: Callable[[], None],
        on_rootless: Callable[[], None],
    ) -> None:
        self._entries = entries
        self._client, self._root = client, root
        self._on_settled, self._on_rootless = on_settled, on_rootless
        self._loop = asyncio.get_running_loop()
        self._generation = 0
        self._pending = 0
        self._settled_once = self._changed = False
        self._watched: set[str] = set()
        self._children: dict[str, set[str]] = {}
        self._overdue: asyncio.TimerHandle | None = None

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

    def note(self, path: str, entry: Entry | None) -> None:
        """Take over what this client itself has just written, and have it watched."""
        self._set(path, entry)
        if entry is not None:
            self._fetch(path)
        self._report()

    # -- asking

    def _fetch(self, path: str) -> None:
        if path in self._watched:
            return
        self._watched.add(path)
        generation = self._generation
        watch = partial(self._hand_over, self._on_data_event, generation, path)
        self._ask(self._client.get_async(self._absolute(path), watch=watch), self._on_data, path)

    def _list(self, path: str) -> None:
        generation = self._generation
        watch = partial(self._hand_over, self._on_child_event, generation, path)
        self._ask(self._client.get_children_async(self._absolute(path), watch=watch), self._on_children, path)

    def _ask(self, result: Any, then: Callable[[str, Any], None], path: str) -> None:
        self._pending += 1
        result.rawlink(partial(self._hand_over, self._on_answer, self._generation, path, then))

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
        except KazooException as error:
            if not self._client.connected:
                return  # the next connection reads everything again
            log.error(
                "store: cannot read a record; check the ACL", path=self._absolute(path), reason=repr(error)
            )
        else:
            then(path, answer)
        self._report()

    def _absent(self, path: str) -> None:
        self._watched.discard(path)
        self._drop(path)
        if not path:
            self._on_rootless()

    def _on_data(self, path: str, answer: Any) -> None:
        value, status = answer
        if value:
            self._set(path, Entry(value, status.version))
        else:
            self._set(path, None)
            self._list(path)

    def _on_children(self, path: str, names: list[str]) -> None:
        for gone in self._children.get(path, set()) - set(names):
            self._drop(_join(path, gone))
        self._children[path] = set(names)
        for name in sorted(names):
            self._fetch(_join(path, name))

    def _on_data_event(self, generation: int, path: str, event: Any) -> None:
        if generation == self._generation and event.type != EventType.NONE:
            self._watched.discard(path)
            self._fetch(path)

    def _on_child_event(self, generation: int, path: str, event: Any) -> None:
        if generation == self._generation and event.type == EventType.CHILD:
            self._list(path)

    # -- keeping

    def _set(self, path: str, entry: Entry | None) -> None:
        if self._entries.get(path) == entry:
            return
        self._changed = True
        if entry is None:
            del self._entries[path]
        else:
            self._entries[path] = entry

    def _drop(self, path: str) -> None:
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

    def _absolute(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
