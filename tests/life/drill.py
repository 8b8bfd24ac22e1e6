"""The drill: a real node forwards while its daemon is killed, restarted and upgraded, and all packets are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend
from tests.integration.cable import eventually, ip
from tests.integration.nodes import WEB, NodeMachine, node_machine
from tests.life.releases import LAYOUT, other_release
from tests.life.traffic import Tally, Traffic

VIP = IPv4Address("192.0.2.10")
NODE = IPv4Address("10.0.0.2")
BACKENDS = (1, 2, 3)
FLEET = {
    "fleet": "demo",
    "backends": [{"name": f"b{n}", "address": f"10.0.0.{10 + n}", "agent": False} for n in BACKENDS],
    "pools": [{"name": WEB, "backends": [f"b{n}" for n in BACKENDS], "table_size": 251, "health": "off"}],
    "vips": [{"address": str(VIP), "port": 80, "protocol": "tcp", "pool": WEB}],
}
PLACES = 1 << 16
SLOW = 1_000_000
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What happened to the daemon, and to the packets meanwhile."""

    name: str
    packets: Tally
    seconds: float


@dataclass(frozen=True, slots=True)
class Drill:
    """A node with its daemon's releases. Each method is one thing that happens; it returns when that is over."""

    machine: NodeMachine
    releases: Path

    def nothing(self) -> None:
        """The daemon runs."""

    def kill(self) -> None:
        self.machine.stop()

    def start(self) -> None:
        """The same release, the same maps."""
        self._start(None)

    def change_program(self) -> None:
        """Another program on the same maps."""
        making = self._making()
        self.machine.stop()
        self._start(self.releases / "program")
        assert self._making() == making

    def change_layout(self) -> None:
        """Another program on other maps."""
        self.machine.stop()
        self._start_on_other_maps(self.releases / "layout")

    def kill_while_it_fills(self) -> None:
        """The release before again; its daemon is killed with its maps half full."""
        making = self._making()
        self.machine.stop()
        self.machine.release = None
        self.machine.launch()
        eventually("maps beside those in use", lambda: len(self._makings()) == 2, PATIENCE_S)
        self.machine.stop()
        assert self._making() == making

    def mend(self) -> None:
        """The next start after that."""
        self._start_on_other_maps(None)

    def change_size(self) -> None:
        """The same release on maps of another size."""
        self.machine.stop()
        self._start_on_other_maps(None, table_places=PLACES)

    def drain_backend(self) -> None:
        """The daemon still has the last word in the kernel."""
        with self.machine.client() as client:
            client.drain_backend(DrainBackend(BackendName("b2"), WEB))
        eventually("the next epoch in use", lambda: self.machine.kernel_epoch() == 2, PATIENCE_S)

    def _start_on_other_maps(self, release: Path | None, **settings: object) -> None:
        making = self._making()
        self._start(release, **settings)
        assert self._making() != making
        assert len(self._makings()) == 1

    def _start(self, release: Path | None, **settings: object) -> None:
        self.machine.release = release
        self.machine.start(**settings)
        eventually("the table is in use", self._is_in_step, PATIENCE_S)

    def _is_in_step(self) -> bool:
        return self.machine.status().agree and self.machine.loaded().current is not None

    def _making(self) -> str:
        return (self.machine.pins / "node").readlink().name

    def _makings(self) -> list[Path]:
        return [path for path in self.machine.pins.glob("node-*") if "unfinished" not in path.name]


PHASES: tuple[tuple[str, Callable[[Drill], None]], ...] = (
    ("the daemon runs", Drill.nothing),
    ("killed (SIGKILL)", Drill.kill),
    ("started again", Drill.start),
    ("another program", Drill.change_program),
    ("another layout", Drill.change_layout),
    ("back, killed while it fills", Drill.kill_while_it_fills),
    ("started again", Drill.mend),
    ("maps of another size", Drill.change_size),
    ("a backend drained", Drill.drain_backend),
)


def set_up(machine: NodeMachine) -> None:
    """Start the daemon; returns once the node forwards to three backends without agents, which the far end plays."""
    for number in BACKENDS:
        ip("-n", machine.cable.far, "addr", "add", f"10.0.0.{10 + number}/24", "dev", "eth0")
    machine.start()
    machine.apply(FLEET)
    eventually("epoch 1 is in use", lambda: machine.status().agree and machine.pool().current == 1)


def forwards(machine: NodeMachine) -> bool:
    """Whether everything that is sent now comes back in a tunnel."""
    with closing(Traffic(machine.cable, VIP, NODE, SLOW)) as traffic:
        with traffic.flowing():
            eventually("packets", lambda: traffic.tally().sent)
        return traffic.tally().lost == 0


def run(folder: Path, packets: int, rate: int = 0) -> Iterator[Phase]:
    """Yield each phase when it is over: at least `packets` in all, at most about `rate` a second (0: no limit)."""
    releases = folder / "releases"
    other_release(releases / "program")
    other_release(releases / "layout", LAYOUT)
    with node_machine(folder) as machine:
        set_up(machine)
        with closing(Traffic(machine.cable, VIP, NODE, rate)) as traffic:
            for name, act in PHASES:
                yield _play(name, partial(act, Drill(machine, releases)), traffic, packets)


def _play(name: str, act: Callable[[], None], traffic: Traffic, packets: int) -> Phase:
    before, began = traffic.tally(), time.monotonic()
    with traffic.flowing():
        act()
        share = -(-packets // len(PHASES))
        eventually("enough packets", lambda: (traffic.tally() - before).sent >= share, PATIENCE_S)
    return Phase(name, traffic.tally() - before, time.monotonic() - began)
