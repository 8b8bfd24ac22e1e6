"""Why nothing that is in a ZooKeeper store is believed: said once, and looked at again in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger()

REMEDY = "check store.secret_file, or protect what is there: lbnode protect"

ROOTLESS_S = 0.5
"""Until a root that was not there is looked for again."""

REFUSED_S = 2.0
"""Until a store that was refused is looked at again."""


class Refusal:
    """One store's. `look_again` is called on the loop."""

    def __init__(self, look_again: Callable[[], None]) -> None:
        self._look_again = look_again
        self._again: asyncio.TimerHandle | None = None
        self._reason: tuple[str, str] | None = None

    @property
    def problem(self) -> str:
        """The reason with its remedy; empty while the store is believed."""
        return "" if self._reason is None else f"refused: {': '.join(self._reason)}: {REMEDY}"

    def refuse(self, znode: str, reason: str) -> None:
        """Believe nothing because of this znode."""
        if (znode, reason) != self._reason:
            log.error(
                "store: refused; going on with what is known, looking again",
                znode=znode,
                reason=reason,
                remedy=REMEDY,
            )
        self._reason = znode, reason
        self._in(REFUSED_S)

    def wait(self) -> None:
        """Nothing is there yet."""
        self._in(ROOTLESS_S)

    def accept(self) -> None:
        """The store is the fleet's own."""
        self._reason = None

    def close(self) -> None:
        """Look no more."""
        if self._again is not None:
            self._again.cancel()

    def _in(self, seconds: float) -> None:
        self.close()
        self._again = asyncio.get_running_loop().call_later(seconds, self._look_again)
