"""One process an instance: a lock in its run directory that ends with the process, and names it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lbnode.daemon.errors import DaemonError


@contextlib.contextmanager
def locked(run_dir: Path, what: str) -> Iterator[None]:
    """Hold the instance in `run_dir`, so that two daemons never work on one. Raises DaemonError.

    `what` is the daemon's command, `lbnode` or `lbbackend`.
    """
    path = lock_file(run_dir, what)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DaemonError(f"{path}: {error.strerror}; run as root or set run_dir") from error
    try:
        _lock(descriptor, run_dir, what)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def running_pid(run_dir: Path, what: str) -> int | None:
    """Return the process id of the daemon that holds the instance; None when nobody does."""
    path = lock_file(run_dir, what)
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(path.read_text() or 0)
    return None


def lock_file(run_dir: Path, what: str) -> Path:
    """Return where the lock of a daemon lies."""
    return run_dir / f"{what}.lock"


def _lock(descriptor: int, run_dir: Path, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 32).decode().strip()
        remedy = "stop it first, or give this one its own run_dir and state_dir"
        raise DaemonError(f"{run_dir}: {what} runs as process {pid}; {remedy}") from error
