"""Whether the agent is in contact with the fleet's memory: one small file in its run directory, for `lbbackend status`.

The fleet cannot be told by an agent that is cut off from it; the machine's operator can.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lbnode.backend.errors import BackendError
from lbnode.model.codec import CorruptRecordError, decode, encode
from lbnode.model.members import View

FILE_NAME = "contact.json"


@dataclass(frozen=True, slots=True)
class Contact:
    """By whose word the agent goes, since when (wall clock), and why it does not believe the store, if it does not."""

    view: View
    since: float
    refused: str = ""


class ContactFile:
    """The file of one instance: true as long as its agent runs."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE_NAME

    def read(self) -> Contact | None:
        """Return what the agent wrote last; None when it has written nothing. Raises BackendError."""
        try:
            return decode(Contact, self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendError(f"{self._path}: {error.strerror}") from error
        except CorruptRecordError as error:
            raise BackendError(f"{self._path}: {error}; restart lbbackend") from error

    def write(self, contact: Contact) -> None:
        """Replace it whole. Raises BackendError."""
        aside = self._path.with_suffix(".new")
        try:
            aside.write_bytes(encode(contact))
            aside.replace(self._path)
        except OSError as error:
            raise BackendError(
                f"{self._path}: {error.strerror}; set run_dir to where it can write"
            ) from error
