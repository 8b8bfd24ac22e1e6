"""A tree of records in a directory, shared by the processes of one machine. All calls block.

    records/<path>    a record: one line of JSON (version, session), then the value
    sessions/<id>     held with flock by a living process; the kernel lets go when it dies, however it dies
    journal           the path of every change, one a line, in order; replaced when it has grown
    lock              held with flock around every change
    tmp/              records on their way to their place

A reader follows the journal: one file to watch, and an exact list of what to read again. A record appears by
rename, so that nobody reads half of one, and a persistent one is on the disk before the call returns.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from lbnode.store.ownership import believed_owners, check_closed
from lbnode.store.tree import (
    ConflictError,
    Entry,
    ExistsError,
    MissingError,
    UnavailableError,
)

log = structlog.get_logger()

JOURNAL_LIMIT = 256 * 1024
"""Bytes after which the journal begins anew."""

LOCK_PATIENCE_S = 5.0
"""How long to wait for another process that is in the middle of a change."""


_JOURNAL_NAME = 33
"""Bytes of a journal's first line."""

PARTS = ("records", "sessions", "journal", "lock", "tmp")
"""What a store consists of. None of them is ever deleted while it is one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record on the disk. `session`: of the process that announced it; None for a persistent one."""

    entry: Entry
    session: str | None


Changes = Mapping[str, Stored | None]
"""Path → what is there now."""


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """How far a reader has read: which journal, by its first line, and the offset in it.

    Not by its inode: that is used again as soon as a journal is replaced.
    """

    journal: bytes
    offset: int


class Directory:
    """One process's session with the directory. Not thread-safe: one thread at a time."""

    def __init__(self, root: Path, found: bool) -> None:
        """Begin a session. `found`: make the store if it is not there; else that is NotADirectoryError."""
        if not found and not all((root / part).exists() for part in PARTS):
            raise NotADirectoryError(f"{root}: no store there")
        self.root = root
        self.session = uuid4().hex
        self.left_out: frozenset[str] = frozenset()
        """Paths of records that are strangers' files."""
        for folder in (root, self._records, root / "sessions", root / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_closed(folder)
        self._owners = believed_owners(root)
        self._lock_fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._session_fd = -1
        try:
            with self.locked():
                self._session_fd = self._begin_session()
        except BaseException:
            os.close(self._lock_fd)
            raise

    @property
    def _records(self) -> Path:
        return self.root / "records"

    @property
    def _journal(self) -> Path:
        return self.root / "journal"

    def _begin_session(self) -> int:
        if not self._journal.exists():
            self._renew_journal()
        path = self.root / "sessions" / self.session
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd

    def close(self) -> None:
        """End the session and what it announced."""
        try:
            with self.locked():
                self._end_session(self.session)
        except (OSError, UnavailableError):
            pass  # a directory that is gone has nothing left to end
        finally:
            os.close(self._session_fd)
            os.close(self._lock_fd)

    # -- reading

    def scan(self) -> tuple[dict[str, Stored], JournalPlace]:
        """Return every record, and the place in the journal from which on changes are not in it."""
        with self.locked():
            found = {path: stored for path in self._paths() if (stored := self.read(path)) is not None}
            journal = self._journal.read_bytes()
            return found, JournalPlace(journal[:_JOURNAL_NAME], len(journal))

    def changes(self, since: JournalPlace) -> tuple[Changes, JournalPlace] | None:
        """Return what changed after `since`, as it is now; None if the journal began anew: scan."""
        with self._journal.open("rb") as journal:
            if journal.read(_JOURNAL_NAME) != since.journal:
                return None
            journal.seek(since.offset)
            lines = journal.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        paths = dict.fromkeys(whole.decode().split("\n")[:-1])
        place = JournalPlace(since.journal, since.offset + len(whole))
        return {path: self.read(path) for path in paths}, place

    def read(self, path: str) -> Stored | None:
        """Return the record at `path` on the disk."""
        try:
            with (self._records / path).open("rb") as file:
                owner, data = os.fstat(file.fileno()).st_uid, file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        if owner not in self._owners:
            self._leave_out(path, owner)
            return None
        self.left_out -= {path}
        head, _, value = data.partition(b"\n")
        try:
            fields = json.loads(head)
            return Stored(Entry(value, int(fields["version"])), fields["session"])
        except (ValueError, KeyError, TypeError):
            return Stored(Entry(data, 0), None)  # written by hand: whoever decodes the value names the path

    def _leave_out(self, path: str, owner: int) -> None:
        if path not in self.left_out:
            log.error("store: a stranger's record: left out", path=str(self._records / path), owner=owner)
        self.left_out |= {path}

    def _paths(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._records):
            relative = Path(folder).relative_to(self._records)
            yield from (str(relative / name) for name in names)

    # -- changing

    def create(self, path: str, value: bytes, session: str | None = None) -> Changes:
        """Make a record of version 0; raises ExistsError."""
        with self.locked():
            if self.read(path) is not None:
                raise ExistsError(f"store {self.root}: create {path}: exists")
            return self._store(path, Stored(Entry(value, 0), session))

    def write(self, path: str, value: bytes, version: int) -> Changes:
        """Replace the record if it has `version`; raises MissingError, ConflictError."""
        with self.locked():
            found = self._expect(path, version, "write")
            return self._store(path, Stored(Entry(value, found.entry.version + 1), found.session))

    def put(self, path: str, value: bytes, session: str | None = None) -> Changes:
        """Make or replace the record. One that belongs to another session is taken over."""
        with self.locked():
            found = self.read(path)
            version = found.entry.version + 1 if found else 0
            return self._store(path, Stored(Entry(value, version), session))

    def delete(self, path: str, version: int | None = None) -> Changes:
        """End the record; raises MissingError, ConflictError."""
        with self.locked():
            found = self._expect(path, version, "delete")
            return self._remove(path, durable=found.session is None)

    def withdraw(self, path: str) -> Changes:
        """End the record if this session announced it."""
        with self.locked():
            found = self.read(path)
            return self._remove(path, durable=False) if found and found.session == self.session else {}

    def bury(self) -> Changes:
        """End what dead processes had announced; return the changes."""
        with self.locked():
            gone: dict[str, Stored | None] = {}
            dead = self._dead_sessions()
            for session in dead:
                gone.update(self._end_session(session))
            if dead:  # one may have died between a change and its line in the journal: let everybody scan
                self._renew_journal()
            return gone

    def _expect(self, path: str, version: int | None, verb: str) -> Stored:
        found = self.read(path)
        if found is None:
            raise MissingError(f"store {self.root}: {verb} {path}: no such record")
        if version is not None and found.entry.version != version:
            raise ConflictError(
                f"store {self.root}: {verb} {path}: it has version {found.entry.version}, not {version}"
            )
        return found

    def _store(self, path: str, stored: Stored) -> Changes:
        place = self._records / path
        durable = stored.session is None
        _make_folder(place.parent, durable)
        aside = self.root / "tmp" / f"{self.session}.record"
        head = json.dumps({"version": stored.entry.version, "session": stored.session}).encode()
        with aside.open("wb") as file:
            file.write(head + b"\n" + stored.entry.value)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(place)
        if durable:
            _sync_folder(place.parent)
        self._record(path)
        return {path: stored}

    def _remove(self, path: str, durable: bool) -> Changes:
        place = self._records / path
        place.unlink()
        if durable:
            _sync_folder(place.parent)
        self._record(path)
        return {path: None}

    def _record(self, path: str) -> None:
        if self._journal.stat().st_size > JOURNAL_LIMIT:
            self._renew_journal()
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(path.encode() + b"\n")

    def _renew_journal(self) -> None:
        fresh = self.root / "tmp" / f"{self.session}.journal"
        fresh.write_bytes(uuid4().hex.encode() + b"\n")
        fresh.replace(self._journal)

    # -- sessions

    def _dead_sessions(self) -> list[str]:
        folder = self.root / "sessions"
        living = {name for name in os.listdir(folder) if name == self.session or _is_held(folder / name)}
        named = {stored.session for path in self._paths() if (stored := self.read(path)) and stored.session}
        return sorted((named | set(os.listdir(folder))) - living)

    def _end_session(self, session: str) -> Changes:
        gone: dict[str, Stored | None] = {}
        for path in list(self._paths()):
            stored = self.read(path)
            if stored is not None and stored.session == session:
                gone.update(self._remove(path, durable=False))
        for left in (self.root / "tmp").glob(f"{session}.*"):
            left.unlink(missing_ok=True)
        (self.root / "sessions" / session).unlink(missing_ok=True)
        return gone

    @contextmanager
    def locked(self) -> Iterator[None]:
        give_up_at = time.monotonic() + LOCK_PATIENCE_S
        while not _try_lock(self._lock_fd):
            if time.monotonic() > give_up_at:
                raise UnavailableError(
                    f"store {self.root}: another process holds the lock: stop it, see fuser {self.root}/lock"
                )
            time.sleep(0.001)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(path: Path) -> bool:
    """Whether a living process holds the file. Opened for reading: closing it must not look like a death."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(fd)
    finally:
        os.close(fd)


def _make_folder(folder: Path, durable: bool) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, durable)
    folder.mkdir(mode=0o700, exist_ok=True)
    if durable:
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
