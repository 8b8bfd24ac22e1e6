"""Docker's engine, started by the test and gone with it: own data, own socket, own network and mount namespaces.

In a network namespace of its own the engine's firewall rules and bridges never meet this machine's; one cable and one
rule for address translation lead out, for the builds. Whatever a killed run has left is taken away by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.compose.shell import run

DOCKER = "/usr/bin/docker"
PLACES = Path("/var/tmp")
STEM = "evenkeel-compose-"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
LITTER = tuple(map(Path, ("/etc/docker/key.json", "/etc/docker", "/run/docker", "/run/containerd")))
"""What an engine leaves beside its own directories."""

START_S = 60.0
STOP_S = 40.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine. `name` is that of its network namespace, its firewall table and its control groups."""

    name: str
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """What Docker's commands need in their environment."""
        return {"DOCKER_HOST": f"unix://{self.directory / 'docker.sock'}", "COMPOSE_DOCKER_CLI_BUILD": "0"}

    def docker(self, *words: str, timeout_s: float = 60.0, check: bool = True) -> str:
        """Run `docker …` and return what it printed."""
        done = run([DOCKER, *words], timeout_s=timeout_s, environment=self.environment, check=check)
        return done.stdout.strip()

    def import_image(self, archive: Path, name: str) -> None:
        """Make an image of a tar archive."""
        self.docker("import", str(archive), name, timeout_s=120)


@contextlib.contextmanager
def started(number: int = 0) -> Iterator[Engine]:
    """Start an engine; at the end, whatever came, nothing of it is left. `number`: which one of this process."""
    sweep()
    engine = _named(os.getpid(), number)
    present = {path for path in LITTER if path.exists()}
    try:
        engine.directory.mkdir(mode=0o700)
        (engine.directory / FORWARDING.name).write_text(FORWARDING.read_text())
        _lay_cable(engine, os.getpid() * 4 + number)
        process = _start(engine)
        try:
            yield engine
        finally:
            _stop(engine, process)
    finally:
        clear(engine)
        _pick_up(present)


def sweep() -> None:
    """Take away what runs that were killed have left."""
    for directory in PLACES.glob(f"{STEM}*"):
        pid, number = map(int, directory.name.removeprefix(STEM).split("-"))
        if not Path(f"/proc/{pid}").exists():
            clear(_named(pid, number))


def clear(engine: Engine) -> None:
    """End every process of an engine, and remove its namespace, rule, control groups, files and kernel setting."""
    name, directory = engine.name, engine.directory
    deadline = time.monotonic() + STOP_S
    while (pids := list(_processes(directory))) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    run(["nft", "delete", "table", "ip", name], check=False)
    run(["ip", "netns", "del", name], check=False)
    run(["ip", "link", "del", name], check=False)
    for folder in sorted(Path("/sys/fs/cgroup").glob(f"**/{name}/**/"), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    before = directory / FORWARDING.name
    if before.exists():
        FORWARDING.write_text(before.read_text())
    shutil.rmtree(directory, ignore_errors=True)


def _processes(directory: Path) -> Iterator[int]:
    """The engine, what manages its containers, and the containers: their mounts are seen from inside `directory`."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            named = str(directory).encode() in (entry / "cmdline").read_bytes()
            if named or str(directory) in (entry / "mountinfo").read_text():
                yield int(entry.name)


def _named(pid: int, number: int) -> Engine:
    return Engine(f"ekc{pid}-{number}", PLACES / f"{STEM}{pid}-{number}")


def _lay_cable(engine: Engine, number: int) -> None:
    """A network namespace, and a way out of it: as little of this machine's as can be."""
    first = IPv4Address("10.213.0.0") + number % 16384 * 4
    here, there = first + 1, first + 2
    run(["ip", "netns", "add", engine.name])
    run(["ip", "link", "add", engine.name, "type", "veth", "peer", "name", "out", "netns", engine.name])
    run(["ip", "addr", "add", f"{here}/30", "dev", engine.name])
    run(["ip", "link", "set", engine.name, "up"])
    for words in (
        ["addr", "add", f"{there}/30", "dev", "out"],
        ["link", "set", "out", "up"],
        ["link", "set", "lo", "up"],
        ["route", "add", "default", "via", str(here)],
    ):
        run(["ip", "-n", engine.name, *words])
    FORWARDING.write_text("1")
    run(["nft", "add", "table", "ip", engine.name])
    run(["nft", "add chain ip", engine.name, "out { type nat hook postrouting priority srcnat; }"])
    run(["nft", "add", "rule", "ip", engine.name, "out", "ip", "saddr", f"{there}/32", "masquerade"])


def _start(engine: Engine) -> subprocess.Popen[bytes]:
    directory = engine.directory
    with (directory / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{engine.name}", "--"),
                *("unshare", "--mount", "--propagation", "private", "--"),
                *("setpriv", "--pdeathsig", "TERM", "--", "/usr/sbin/dockerd"),
                *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
                *(
                    "--pidfile",
                    str(directory / "dockerd.pid"),
                    "--host",
                    f"unix://{directory / 'docker.sock'}",
                ),
                *("--cgroup-parent", engine.name, "--default-address-pool", "base=10.214.0.0/16,size=24"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while run([DOCKER, "info"], environment=engine.environment, check=False).returncode:
        said = (directory / "dockerd.log").read_text()[-2000:]
        assert process.poll() is None, f"the engine ended: {said}"
        assert time.monotonic() < deadline, f"the engine does not answer: {said}"
        time.sleep(POLL_S)
    return process


def _stop(engine: Engine, process: subprocess.Popen[bytes]) -> None:
    """Remove the containers and end the engine; what does not go is killed by `clear`."""
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        containers = engine.docker("ps", "--all", "--quiet").split()
        if containers:
            engine.docker("rm", "--force", "--volumes", *containers)
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pick_up(present: set[Path]) -> None:
    for path in LITTER:
        if path in present or not path.exists():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
