"""The last view of the fleet on this daemon's own disk: what it starts with when the store is out of reach.

Liveness is not in it: who was connected, and who led, says nothing after a restart. The file holds the
fleet's secret and is readable by its owner alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from lbnode.model.codec import CorruptRecordError, decode, encode
from lbnode.model.view import FleetView
from lbnode.store.ownership import believed_owners
from lbnode.store.tree import StoreError

FILE_NAME = "fleet.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was on the disk: a view, or none and, unless there was no file, the problem with it."""

    view: FleetView | None
    problem: str = ""


class DiskCopy:
    """The copy in one daemon's state directory. Blocking calls; `save` waits for the disk."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._saved: FleetView | None = None

    @property
    def path(self) -> Path:
        return self._path

    def load(self) -> Loaded:
        """Return the copy, with `connected` False. A file that cannot be read is reported, never raised."""
        try:
            owners = believed_owners(self._path.parent)
            with self._path.open("rb") as file:
                owner, data = os.fstat(file.fileno()).st_uid, file.read()
        except FileNotFoundError:
            return Loaded(None)
        except OSError as error:
            return Loaded(None, f"copy {self._path}: {error.strerror}: going on without it")
        except StoreError as error:
            return Loaded(None, f"copy {self._path}: {error}: going on without it")
        if owner not in owners:
            return Loaded(None, f"copy {self._path}: written by user {owner}: going on without it")
        try:
            self._saved = decode(FleetView, data)
        except CorruptRecordError as error:
            return Loaded(None, f"copy {self._path}: {error}: going on without it; the store will replace it")
        return Loaded(self._saved)

    def save(self, view: FleetView) -> bool:
        """Put what is lasting of `view` on the disk; tell whether anything was new. Raises StoreError."""
        lasting = _lasting(view)
        if lasting == self._saved:
            return False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(self._path, encode(lasting))
        except OSError as error:
            remedy = "make room, or correct its rights or state_dir"
            raise StoreError(
                f"copy {self._path}: {error.strerror}: a restart without the store would know nothing new; {remedy}"
            ) from error
        self._saved = lasting
        return True


def _lasting(view: FleetView) -> FleetView:
    return replace(
        view,
        live_nodes={},
        live_agents={},
        questions={},
        reports={},
        held={},
        leader=None,
        connected=False,
        corrupt=(),
        damaged={},
    )


def _write_whole(path: Path, data: bytes) -> None:
    """Replace the file so that, whenever the power fails, the old or the new one is there."""
    aside = path.with_suffix(".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
