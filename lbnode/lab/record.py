"""What is kept of a lab on disk: enough for any later command to work on it, or to take it apart.

/run/evenkeel/labs/<lab>/lab.json        plan and started processes
/run/evenkeel/labs/<lab>/fleet.yaml      what was applied
/run/evenkeel/labs/<lab>/<host>/         config.yaml, daemon.log, run/ and state/ of the host's daemon
/run/evenkeel/labs/<lab>.lock            held while a command builds the lab or takes it apart
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lbnode.lab.errors import LabError
from lbnode.lab.plan import Plan, check_name
from lbnode.lab.processes import Process
from lbnode.model.codec import CorruptRecordError, decode, encode

LABS = Path("/run/evenkeel/labs")


@dataclass(frozen=True, slots=True)
class LabRecord:
    """A lab's plan and the processes started for it: a host's daemon by the host's name, others by theirs.

    `ready`: it was built to the end.
    """

    plan: Plan
    processes: dict[str, Process] = field(default_factory=dict)
    ready: bool = False

    def started(self, name: str, process: Process) -> LabRecord:
        """Return the record with `process` under `name`."""
        return replace(self, processes={**self.processes, name: process})


def directory(lab: str) -> Path:
    """Where everything of a lab lies."""
    check_name(lab)
    return LABS / lab


def host_directory(lab: str, host: str) -> Path:
    """Where everything of one host of a lab lies; it exists afterwards."""
    path = directory(lab) / host
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(record: LabRecord) -> None:
    """Write the record; a reader sees the old one or the new one, never half of one."""
    path = directory(record.plan.lab) / "lab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_bytes(encode(record))
    aside.replace(path)


def load(lab: str) -> LabRecord:
    """Return the record of a lab that is up. Raises LabError when there is none."""
    path = directory(lab) / "lab.json"
    try:
        return decode(LabRecord, path.read_bytes())
    except FileNotFoundError as error:
        raise LabError(f"lab {lab}: not up: lbctl lab up --name {lab}") from error
    except CorruptRecordError as error:
        raise LabError(f"lab {lab}: {path}: {error}: lbctl lab down --name {lab}") from error


def recorded() -> set[str]:
    """The names of the labs that have a directory."""
    return {entry.name for entry in LABS.iterdir() if entry.is_dir()} if LABS.is_dir() else set()


@contextmanager
def lock(lab: str) -> Iterator[None]:
    """Hold a lab for building or taking apart. Raises LabError when another command holds it.

    The lock ends with the process that holds it, so a killed command blocks nobody.
    """
    LABS.mkdir(parents=True, exist_ok=True)
    path = LABS / f"{lab}.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise LabError(
                f"lab {lab}: another command is building it or taking it apart: wait for it"
            ) from error
        if _is_file(handle, path):
            break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_file(handle: int, path: Path) -> bool:
    """True while `path` is the locked file, and not one made after its removal by the last holder."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
