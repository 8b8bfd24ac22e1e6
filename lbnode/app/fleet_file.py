"""The watched `fleet.yaml` of a single machine: what it says is applied when it changes."""

from __future__ import annotations

from pathlib import Path

import structlog

from lbnode.app.changes import carry_out
from lbnode.daemon.memory import Memory
from lbnode.model.requests import Apply, Refusal
from lbnode.model.view import FleetView
from lbnode.settings.fleet import FleetFileError, load_fleet

log = structlog.get_logger()

Stamp = tuple[int, int, int]


class FleetFile:
    """Looks at the file on each pass; a file that does not pass its checks changes nothing and is logged once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: Stamp | None = None
        self.problem = ""

    async def apply(self, memory: Memory, view: FleetView, leading: bool) -> None:
        """Apply the file if it has changed since the last look. Only the leader does."""
        if self._path is None or not leading or view.identity is None:
            return
        stamp = self._stamp(self._path)
        if stamp is None or stamp == self._seen:
            return
        self._seen = stamp
        self.problem = await self._apply(self._path, memory)
        if self.problem:
            log.error("fleet file not applied", file=str(self._path), problem=self.problem)

    async def _apply(self, path: Path, memory: Memory) -> str:
        try:
            desired = load_fleet(path)
        except FleetFileError as error:
            return str(error)
        answer = await carry_out(memory, Apply(desired))
        if isinstance(answer, Refusal):
            return str(answer)
        log.info("fleet file applied", file=str(path))
        return ""

    def _stamp(self, path: Path) -> Stamp | None:
        try:
            status = path.stat()
        except OSError as error:
            problem = f"{path}: {error.strerror}"
            if problem != self.problem:
                log.error("fleet file out of reach", problem=problem)
            self.problem = problem
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
