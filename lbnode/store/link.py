"""An open directory, its watches, and how far its journal has been read. Blocking, but for `inotify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lbnode.store.directory import Changes, Directory, JournalPlace, Stored
from lbnode.store.inotify import Inotify, Mask

_ROOT_MASK = Mask.MODIFY | Mask.MOVED_TO | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF


@dataclass(slots=True)
class Link:
    """One process's way to a store in a directory. `records` is everything as of the last whole reading."""

    directory: Directory
    inotify: Inotify
    records: dict[str, Stored]
    place: JournalPlace

    @classmethod
    def open(cls, root: Path, found: bool) -> Link:
        """Begin a session, watch, then read everything, so that no change falls between. See `Directory`."""
        directory, inotify = Directory(root, found), None
        try:
            inotify = Inotify()
            inotify.watch(root, _ROOT_MASK)
            inotify.watch(root / "sessions", Mask.CLOSE_WRITE)
            return cls(directory, inotify, *directory.scan())
        except BaseException:
            if inotify:
                inotify.close()
            directory.close()
            raise

    def news(self) -> Changes | None:
        """Return what changed since the last look; None if everything was read again, into `records`."""
        found = self.directory.changes(self.place)
        if found is None:
            self.records, self.place = self.directory.scan()
            return None
        changes, self.place = found
        return changes
