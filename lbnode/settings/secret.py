"""Secrets in files: read only when nobody else can read or replace them. They are never arguments or variables."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from lbnode.settings.errors import BadSettingsError

MOST_BYTES = 1 << 16


def read_secret(path: Path, where: str) -> bytes:
    """Return the content of a file that only its owner, this user or root, may open. Raises BadSettingsError.

    `where` begins the message: the setting that names the file. Group and others may have no permission at all.
    """
    with _opened(path, where) as file:
        status = os.fstat(file.fileno())
        if os.geteuid() and status.st_uid not in (0, os.geteuid()):  # root looks at others' daemons, too
            raise BadSettingsError(
                f"{where}: {path} belongs to user {status.st_uid}: chown it to the user who runs this"
            )
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadSettingsError(f"{where}: {path} is open to other users: chmod 600 {path}")
        return file.read(MOST_BYTES)


def read_public(path: Path, where: str) -> bytes:
    """Return the content of a file that anybody may read and nobody else may write. Raises BadSettingsError."""
    with _opened(path, where) as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise BadSettingsError(f"{where}: {path} can be written by everybody: chmod o-w {path}")
        return file.read(MOST_BYTES)


def _opened(path: Path, where: str) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadSettingsError(
            f"{where}: read {path}: {error.strerror}; correct {where}, or bring the file there"
        ) from error
