"""Elections in the file store: whoever can create the leader's record leads, and the record ends with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from lbnode.store.tree import LEADER, Session, StoreError

if TYPE_CHECKING:
    from lbnode.store.files import FileTree


class FileCandidate:
    """`Campaign` of one `FileTree`. `look` is called whenever the mirror or the session has changed."""

    def __init__(
        self, tree: FileTree, identity: str, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._tree = tree
        self._identity = identity.encode()
        self._on_elected, self._on_lost = on_elected, on_lost
        self._leading = self._standing = self._withdrawn = False

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
        if connected and self._tree.leader is None and not self._standing and not self._withdrawn:
            self._standing = True
            self._tree.spawn(self._stand())

    async def withdraw(self) -> None:
        self._withdrawn = True
        if self._tree.session is Session.CONNECTED:
            await self._tree.run(lambda to: to.withdraw(LEADER))

    async def _stand(self) -> None:
        try:
            await self._tree.run(lambda to: to.create(LEADER, self._identity, to.session))
        except StoreError:
            pass  # somebody was quicker, or the directory is gone: the mirror will tell
        finally:
            self._standing = False
