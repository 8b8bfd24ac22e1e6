"""What a contract test runs over: a real store of one kind, trees on it in this process and in others."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lbnode.store.access import Access, Party, digest_id
from lbnode.store.files import FileTree
from lbnode.store.interest import EVERYTHING, Interest
from lbnode.store.tree import Campaign, Session, Tree
from lbnode.store.zookeeper import ZooKeeperTree

SESSION_TIMEOUT_S = 2.0
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Backing:
    """One store. `hosts` is empty for a directory; `grace_s` is how long the dead may be taken for living.

    A client's session outlives `session_timeout_s` without contact. With a `password` its znodes are closed to
    everybody but the fleet, and trees are those of `party`.
    """

    kind: str
    root: str
    hosts: str = ""
    password: str = ""
    party: str = Party.NODES.value
    session_timeout_s: float = SESSION_TIMEOUT_S

    @property
    def access(self) -> Access | None:
        """Both parties have the same password here."""
        party = Party(self.party)
        (other,) = set(Party) - {party}
        return Access(party, self.password, digest_id(other, self.password)) if self.password else None

    @property
    def grace_s(self) -> float:
        return 2 * SESSION_TIMEOUT_S if self.kind == "zookeeper" else 0.0

    def tree(self, hosts: str = "", interest: Interest = EVERYTHING) -> Tree:
        """Return a tree on this store; `hosts` says how to get there, if not directly."""
        if self.kind == "zookeeper":
            reached = hosts or self.hosts
            return ZooKeeperTree(reached, self.root, self.session_timeout_s, interest, self.access)
        return FileTree(Path(self.root))


class Observer:
    """A tree and everything that it has called back with."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.history: list[str] = []
        self.checks: list[Callable[[], None]] = []
        self._news = asyncio.Event()

    async def start(self) -> None:
        await self.tree.start(self._changed, lambda session: self._say(session.value))

    async def ready(self) -> Observer:
        await self.until(lambda: self.tree.session is Session.CONNECTED)
        return self

    def campaign(self, identity: str) -> Campaign:
        return self.tree.campaign(identity, lambda: self._say("elected"), lambda: self._say("deposed"))

    def value(self, path: str) -> bytes | None:
        entry = self.tree.get(path)
        return entry.value if entry else None

    def version(self, path: str) -> int | None:
        entry = self.tree.get(path)
        return entry.version if entry else None

    async def until(self, condition: Callable[[], bool], within_s: float = 10.0) -> float:
        """Wait for the condition to hold after some callback; return the seconds that it took."""
        begun = time.monotonic()
        while not condition():
            self._news.clear()
            left = begun + within_s - time.monotonic()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                raise AssertionError(
                    f"not within {within_s:g} s: {self.history}, {dict(self.tree.snapshot())!r:.2000}"
                ) from None
        return time.monotonic() - begun

    def _changed(self) -> None:
        for check in self.checks:
            check()
        self._news.set()

    def _say(self, word: str) -> None:
        self.history.append(word)
        self._news.set()


class Other:
    """Another process of the operating system with a tree on the same store
    (`tests.integration.store.process`).
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, backing: Backing, *orders: str) -> Other:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.store.process", json.dumps(asdict(backing)), *orders,
            stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        return cls(process)

    async def hear(self, word: str, within_s: float = 20.0) -> None:
        """Wait until the process prints `word` on a line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            while line := await self._process.stdout.readline():
                if line.decode().strip() == word:
                    return
        raise AssertionError(f"the process ended without saying {word}")

    async def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
