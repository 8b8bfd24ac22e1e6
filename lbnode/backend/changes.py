"""What agents changed on this machine and nobody put back yet: what `lbbackend unload` undoes.

Written before a change is made, so that a crash leaves none unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from lbnode.backend.errors import BackendError
from lbnode.model.codec import CorruptRecordError, decode, encode
from lbnode.model.vip import VipAddress

FILE_NAME = "changes.json"


@dataclass(frozen=True, slots=True)
class HostChanges:
    """`interface` is the one that the programs hang on, empty when none is.

    `addresses` are VIPs' addresses and prefixes that were not on lo before; `sysctls` has the values from before
    the first change.
    """

    interface: str = ""
    addresses: tuple[VipAddress, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)


class ChangesFile:
    """The record of one instance, in its state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME

    def read(self) -> HostChanges:
        """Return what is changed; nothing when there is no file. Raises BackendError for a damaged one."""
        try:
            return decode(HostChanges, self._path.read_bytes())
        except FileNotFoundError:
            return HostChanges()
        except OSError as error:
            raise BackendError(f"{self._path}: {error.strerror}") from error
        except CorruptRecordError as error:
            remedy = "put sysctls and lo right by hand, then remove the file"
            raise BackendError(f"{self._path}: {error}; {remedy}") from error

    def write(self, changes: HostChanges) -> None:
        """Replace the record whole, and wait for the disk."""
        aside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(encode(changes))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            raise BackendError(
                f"{self._path}: {error.strerror}; set state_dir to where it can write"
            ) from error

    def forget(self) -> None:
        """Nothing is changed here any more."""
        self._path.unlink(missing_ok=True)
