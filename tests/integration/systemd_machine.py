"""A machine with systemd as its process 1, in namespaces: the host's files below an overlay, a network of its own.

What is changed in there is gone with it. Its cgroups are below one of the test's own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.cable import eventually

BOOT_S = 60.0
RUN_S = 90.0
HIERARCHIES = Path("/sys/fs/cgroup")

ENTER = 'for place in "$@"; do case $place in */cgroup.procs) echo $$ > "$place";; esac; done; exec "$0" "$@"'
"""Go into the cgroups whose `cgroup.procs` are the last words, then run all the words."""

BOOT = """
set -e
root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs $1
mkdir $1/upper $1/work $root
mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount --rbind /dev $root/dev
mount -t tmpfs tmpfs $root/run
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
else
  mount -t tmpfs tmpfs $root/sys/fs/cgroup
  mkdir $root/sys/fs/cgroup/systemd $root/sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup $root/sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup/unified
fi
mkdir -p $root/opt/evenkeel
mount --bind $2 $root/opt/evenkeel
ip link set lo up
export container=test
exec chroot $root /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
"""


@dataclass(frozen=True, slots=True)
class SystemdMachine:
    """A machine that has booted. `pid` is its process 1, as this machine counts."""

    pid: int

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in there, and return what it says."""
        enter = ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=RUN_S, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def write(self, path: str, text: str) -> None:
        """Make a file in there."""
        place = Path(f"/proc/{self.pid}/root{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def show(self, unit: str, name: str) -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()


@contextmanager
def booted(folder: Path, installation: Path) -> Iterator[SystemdMachine]:
    """Boot a machine that has `installation`, a virtual environment, at /opt/evenkeel."""
    groups = _make_groups(f"ekm{os.getpid()}")
    places = [str(group / "cgroup.procs") for group in groups]
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", ENTER, *unshare, "bash", "-c", BOOT, "boot", str(folder), str(installation), *places],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        machine = SystemdMachine(eventually("process 1", lambda: _child(process), BOOT_S))
        up = ("running", "degraded", "starting")
        eventually("systemd answers", lambda: _state(machine) in up, BOOT_S)
        yield machine
    finally:
        process.kill()
        process.wait()
        for group in groups:
            _remove(group)


def _make_groups(name: str) -> list[Path]:
    hybrid = [HIERARCHIES / "systemd", HIERARCHIES / "unified"]
    roots = [HIERARCHIES] if (HIERARCHIES / "cgroup.controllers").exists() else hybrid
    groups = [root / name for root in roots]
    for group in groups:
        group.mkdir()
    return groups


def _child(process: subprocess.Popen[bytes]) -> int | None:
    """The process that runs as number 1 in the new namespace, once it is systemd."""
    assert process.poll() is None, "the machine did not boot"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pid = int(children[0]) if children else None
    if pid is None or Path(f"/proc/{pid}/comm").read_text().strip() != "systemd":
        return None
    return pid


def _state(machine: SystemdMachine) -> str:
    return machine.run("systemctl", "is-system-running", check=False).strip()


def _remove(group: Path) -> None:
    """Remove a cgroup and those below it, as soon as their last process has gone."""
    deadline = time.monotonic() + BOOT_S
    while group.exists():
        for path in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
            if path.is_dir():
                _try_remove(path)
        _try_remove(group)
        assert time.monotonic() < deadline, f"{group} has processes"


def _try_remove(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        time.sleep(0.02)
