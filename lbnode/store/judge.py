"""Whose a znode is, by its ACL: asked for once in a znode's life, and again when the ACL was changed since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lbnode.store.access import Access


@dataclass(frozen=True, slots=True)
class _Judgement:
    """`born` and `opened` tell one znode of a name, and one state of its ACL, from the next."""

    born: int
    opened: int
    complaint: str


class Judge:
    """What is known of the znodes below `root`. Paths are the port's. On the loop."""

    def __init__(self, client: Any, root: str, access: Access) -> None:
        self._client, self._root, self._access = client, root, access
        self._judged: dict[str, _Judgement] = {}

    def knows(self, path: str) -> bool:
        """Whether a znode of that name was judged before."""
        return path in self._judged

    def ask(self, path: str) -> Any:
        """Ask ZooKeeper for the ACL; the answer is for `hear`."""
        return self._client.get_acls_async(f"{self._root}/{path}" if path else self._root)

    def hear(self, path: str, answer: Any) -> None:
        """Judge by ZooKeeper's answer."""
        found, status = answer
        complaint = self._access.complaint(path, found)
        self._judged[path] = _Judgement(status.czxid, status.aversion, complaint)

    def is_judged(self, path: str, status: Any) -> bool:
        """Whether the znode that has this status is the one that was judged; if not, it must be asked for again."""
        judged = self._judged.get(path)
        if judged is not None and (judged.born, judged.opened) == (status.czxid, status.aversion):
            return True
        self.forget(path)
        return False

    def complaint(self, path: str) -> str:
        """Say who else may do what with the znode; empty if it is the fleet's own."""
        return self._judged[path].complaint

    def forget(self, path: str) -> None:
        """The znode is gone, or another has its name."""
        self._judged.pop(path, None)
