"""Elections in the file store: who can create the leader's record leads; it ends with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from lbnode.store.tree import LEADER, ExistsError, Session, UnavailableError

if TYPE_CHECKING:
    from lbnode.store.files import FileTree

MIRROR_LAG_S = 0.02
"""What the mirror may be behind the directory."""


class FileCandidate:
    """`Campaign` of one `FileTree`. `look` is called whenever the mirror or the session has changed."""

    def __init__(
        self, tree: FileTree, identity: str, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._tree = tree
        self._identity = identity.encode()
        self._on_elected, self._on_lost = on_elected, on_lost
        self._leading = self._withdrawn = False
        self._standing: asyncio.Task[None] | None = None

    @property
    def leading(self) -> bool:
        return self._leading

    def look(self) -> None:
        """Compare the mirror with what was last said to the caller, and stand when nobody leads."""
        connected = self._tree.session is Session.CONNECTED
        leading = connected and self._tree.leads
        if leading != self._leading:
            self._leading = leading
            asyncio.get_running_loop().call_soon(self._on_elected if leading else self._on_lost)
        standing = self._standing is not None and not self._standing.done()
        if connected and self._tree.leader is None and not standing and not self._withdrawn:
            self._standing = self._tree.spawn(self._stand())

    async def withdraw(self) -> None:
        self._withdrawn = True
        if self._standing is not None:
            await asyncio.wait([self._standing])  # it may be about to win
        if self._tree.session is Session.CONNECTED:
            await self._tree.run(lambda to: to.withdraw(LEADER))

    async def _stand(self) -> None:
        """Try until somebody leads, by the mirror: others may win and go without ever showing in it."""
        while self._tree.leader is None and not self._withdrawn:
            try:
                await self._tree.run(lambda to: to.create(LEADER, self._identity, to.session))
            except ExistsError:
                await asyncio.sleep(MIRROR_LAG_S)
            except UnavailableError:
                return  # when the directory is back, it is looked at again
