"""The drill: a fleet in containers is scaled, killed and restarted under load, and no connection breaks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from tests.compose.conftest import FLEET_FILE, Timings
from tests.compose.project import CrowdProcess, Project, RouterWatch, crowd
from tests.integration import cable

FLOWS = 550
LEAST = 500
SECOND_VIP = "192.0.2.11"
UPLOAD_BYTES = 20 << 20
UPLOAD_RATE = "1500k"
STEP_S = 90.0

pytestmark = pytest.mark.timeout(900)


def step_end(what: str, holds: Callable[[], bool]) -> None:
    """Wait until `holds`; fail, naming `what`, when it takes too long."""
    cable.eventually(what, holds, STEP_S)


@dataclass(slots=True)
class Uploads:
    """Uploads one after the other for as long as the block lasts: the answers that they got."""

    project: Project
    answers: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Uploads]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.answers.append(self.project.upload(UPLOAD_BYTES, UPLOAD_RATE))


@dataclass(slots=True)
class Scene:
    """What every step of the drill looks at."""

    project: Project
    timings: Timings
    clients: CrowdProcess
    router: list[str]
    broken: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One step: measured, and its broken connections are its own."""
        began = time.monotonic()
        yield
        self.timings.measured(what, began)
        broken = self.clients.look().broken
        new = {how: count - self.broken.get(how, 0) for how, count in broken.items()}
        self.broken = broken
        assert not any(new.values()), f"{what}: {new}"

    def announcing(self, nodes: int) -> bool:
        """The router sends packets to exactly so many nodes."""
        return len(self.project.ecmp(self.router)) == nodes

    def serving(self, backends: int) -> bool:
        """So many backends take new flows, and nobody else sits in a slot."""
        slots = self.project.status()["pools"][0]["slots"]
        states = [slot["state"] for slot in slots if slot["backend"]]
        return states == ["active"] * backends


def zookeeper_leader(project: Project) -> str:
    """Return the service that leads the ensemble."""
    for service in ("zk1", "zk2", "zk3"):
        said = project.compose("exec", "-T", service, "bash", "-c", MODE)
        if "leader" in said:
            return service
    raise AssertionError("no ZooKeeper server leads")


MODE = "exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; grep Mode <&3"


def test_no_connection_breaks_while_everything_is_scaled_killed_and_restarted(
    project: Project, timings: Timings, tmp_path: Path
) -> None:
    began = time.monotonic()
    project.scale(node=3, backend=4)
    step_end("the first answer", lambda: bool(project.ask()))
    timings.measured("up: 3 nodes, 4 backends, the first answer", began)
    with crowd(project, FLOWS) as clients, Uploads(project).running() as uploads:
        scene = Scene(project, timings, clients, project.into("router"))
        drill(scene)
        with scene.step("a second VIP written into fleet.yaml: answered"):
            write_second_vip(tmp_path / FLEET_FILE.name)
            step_end("the second VIP", lambda: bool(project.ask(SECOND_VIP)))
        with scene.step("every connection answers once more"):
            last = clients.finish()
    assert last.broken == {}
    assert last.least >= LEAST
    assert last.whole > 2 * FLOWS
    assert len(uploads.answers) >= 3
    assert set(uploads.answers) == {"201"}
    print(f"{last.whole} connections whole, never fewer than {last.least}, "
          f"longest wait {last.longest_wait_s:.1f} s, {len(uploads.answers)} uploads")  # fmt: skip
    step_end("every container is healthy", lambda: not project.unhealthy())
    assert strangers_in_logs(project) == []


def write_second_vip(file: Path) -> None:
    """Change the fleet as editors do: a new file in the place of the old one."""
    fleet = yaml.safe_load(file.read_text())
    fleet["vips"].append({**fleet["vips"][0], "address": SECOND_VIP})
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(fleet))
    new.rename(file)


def strangers_in_logs(project: Project) -> list[str]:
    """Return the lines of nodes and backends that are not JSON."""
    containers = [*project.containers("node"), *project.containers("backend")]
    lines = [line for container in containers for line in project.log(container)]
    assert len(lines) > len(containers)
    return [line for line in lines if not line.startswith('{"') or "event" not in json.loads(line)]


def drill(scene: Scene) -> None:
    """What happens, step by step."""
    project = scene.project
    with scene.step(f"{FLOWS} connections open, 3 nodes in the router's ECMP, 4 backends"):
        step_end("nodes", lambda: scene.announcing(3))
        step_end("backends", lambda: scene.serving(4))
        step_end("connections", lambda: scene.clients.look().least >= LEAST)
    with scene.step("nodes 3 → 5: in the router's ECMP"):
        project.scale(node=5)
        step_end("nodes", lambda: scene.announcing(5))
    with scene.step("backends 4 → 6: all take new flows"):
        project.scale(backend=6)
        step_end("backends", lambda: scene.serving(6))
    with scene.step("a node's container killed: out of the router's ECMP"):
        victim = project.containers("node")[-1]
        project.engine.docker("kill", victim)
        step_end("nodes", lambda: scene.announcing(4))
        project.engine.docker("rm", victim)
    with scene.step("nodes 4 → 2: stopped in good order"):
        stop_nodes(project, 2)
        step_end("nodes", lambda: scene.announcing(2))
    with scene.step("both nodes replaced, one after the other, each when the other is healthy"):
        replaced = project.containers("node")
        project.renew("node")
        assert not {*replaced} & {*project.containers("node")}
        step_end("nodes", lambda: scene.announcing(2))
    with scene.step("backends 6 → 3: drained, gone"):
        since = time.time()
        project.scale(backend=3)
        assert [status for _, status in project.deaths(since).values()] == [0] * 3
        step_end("backends", lambda: scene.serving(3))
    with scene.step("the leader of ZooKeeper restarted: the fleet agrees again"):
        project.compose("restart", zookeeper_leader(project))
        step_end("agreement", lambda: bool(project.status()["agree"]))


def stop_nodes(project: Project, left: int) -> None:
    """Scale down, and see that no node stops answering before the router has stopped asking."""
    addresses = {container: project.address(container) for container in project.containers("node")}
    since = time.time()
    with RouterWatch(project) as watch:
        project.scale(node=left)
    deaths = project.deaths(since)
    assert len(deaths) == len(addresses) - left
    for container, (at, status) in deaths.items():
        address: IPv4Address = addresses[container]
        assert status == 0
        assert watch.last_seen[address] < at, f"{address} was in the router's ECMP when it ended"
