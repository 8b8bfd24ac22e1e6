"""Taking a lab apart, whatever state it is in: built, half built, crashed, or already gone.

Works from what exists, not from what was recorded: a command that was killed has recorded nothing. Every
process of a lab lives in one of its namespaces, every mount beneath its directory, so those two names find
everything.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from pathlib import Path

from lbnode.lab import namespaces, record
from lbnode.lab.errors import LabError
from lbnode.lab.interruption import held_off
from lbnode.lab.plan import check_name
from lbnode.lab.processes import kill_all

MNT_DETACH = 2
ROUNDS = 50
PAUSE_S = 0.05


def take_down(lab: str) -> bool:
    """End every process of the lab, remove its namespaces, mounts and files. False when there was nothing."""
    check_name(lab)
    with record.lock(lab):
        existed = bool(leftovers(lab))
        dismantle(lab)
    return existed


def dismantle(lab: str) -> None:
    """`take_down` for a caller that holds the lab's lock. Raises LabError when something will not go."""
    with held_off():
        _end_processes(lab)
        for mount in mounts_of(lab):
            _unmount(mount)
        for namespace in namespaces.of_lab(lab):
            namespaces.delete(namespace)
        shutil.rmtree(record.directory(lab), ignore_errors=True)
    if remains := leftovers(lab):
        raise LabError(
            f"take down lab {lab}: still there: {', '.join(remains)}: try again: lbctl lab down --name {lab}"
        )


def leftovers(lab: str) -> list[str]:
    """What exists of a lab now: namespaces, processes, mounts and its directory. Empty: nothing at all."""
    spaces = namespaces.of_lab(lab)
    found = [f"namespace {name}" for name in spaces]
    found += [f"process {pid} in {name}" for pid, name in namespaces.processes_in(spaces).items()]
    found += [f"mount {path}" for path in mounts_of(lab)]
    return found + ([f"directory {record.directory(lab)}"] if record.directory(lab).exists() else [])


def known() -> list[str]:
    """The names of all labs of which anything exists."""
    return sorted(record.recorded() | namespaces.labs())


def mounts_of(lab: str) -> list[Path]:
    """What is mounted beneath the lab's directory, the innermost first (proc_pid_mountinfo(5), field 5)."""
    root = record.directory(lab)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return sorted(
        (point for point in points if point.is_relative_to(root)), key=lambda p: len(p.parts), reverse=True
    )


def _end_processes(lab: str) -> None:
    """Kill until nobody is left: a process may start another between the look and the kill."""
    for _ in range(ROUNDS):
        pids = [pid for pid in namespaces.processes_in(namespaces.of_lab(lab)) if pid != os.getpid()]
        if not pids:
            return
        kill_all(pids)
        time.sleep(PAUSE_S)
    raise LabError(f"take down lab {lab}: processes keep appearing: {pids}")


def _unmount(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), MNT_DETACH):
        raise LabError(f"unmount {path}: {os.strerror(ctypes.get_errno())}")
