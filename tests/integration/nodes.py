"""One node daemon in a namespace of its own, its fleet in a directory: what a test writes there, it must live with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

import yaml

from lbnode.dataplane.inspection import Inspection
from lbnode.model.epoch import Epoch
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.model.status import FleetStatus, NodePool, PoolStatus
from lbnode.model.view import FleetView
from lbnode.netdev import bpffs
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError
from lbnode.store.fleet import FleetStore
from lbnode.store.records import epoch_path
from tests.integration.cable import Cable, eventually, inside, laid
from tests.integration.memory import FLEET, in_store, tree_of

WEB = PoolName("web")
METRICS = "127.0.0.1:9464"
START_S = 60.0
"""Under load, too."""

T = TypeVar("T")


@dataclass(slots=True)
class NodeMachine:
    """The near end of a cable and everything of its daemon; the far end is the only neighbour."""

    cable: Cable
    directory: Path
    daemon: subprocess.Popen[bytes] | None = None
    release: Path | None = None
    """Where another release lies than the one that is tested."""

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def run(self, verb: str, *words: str) -> str:
        """Run a command of `lbnode` on this machine to its end, and return what it printed."""
        return subprocess.run(
            self._command(verb, *words), capture_output=True, text=True, timeout=START_S, check=True
        ).stdout

    def _command(self, verb: str, *words: str) -> list[str]:
        lbnode = str(Path(sys.executable).with_name("lbnode"))
        inside_near = ["nsenter", f"--net=/run/netns/{self.cable.near}"]
        return [*inside_near, lbnode, verb, "--config", str(self.directory / "lbnode.yaml"), *words]

    @property
    def pins(self) -> Path:
        """Where its bpffs is mounted."""
        return self.directory / "run" / "bpf"

    def start(self, **changes: object) -> None:
        """Run the daemon until `stop`, with other settings where `changes` says so; returns once it answers."""
        self.launch(**changes)
        eventually("the node answers", self._answers, START_S)

    def launch(self, **changes: object) -> None:
        """Run the daemon until `stop`; does not wait for anything."""
        settings = {
            "name": "n1",
            "fleet": FLEET,
            "interface": "eth0",
            "address": "10.0.0.2",
            "store": {"kind": "file", "path": str(self.directory / "store")},
            "rpc": {"listen": f"unix:{self.directory / 'rpc.sock'}"},
            "metrics": {"listen": METRICS},
            "state_dir": str(self.directory / "state"),
            "run_dir": str(self.directory / "run"),
            **changes,
        }
        (self.directory / "lbnode.yaml").write_text(yaml.safe_dump(settings))
        with (self.directory / "log").open("ab") as log:
            self.daemon = subprocess.Popen(self._command("run"), stderr=log, env=self._environment())

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **({"PYTHONPATH": str(self.release)} if self.release else {})}

    def stop(self) -> None:
        """End the daemon with SIGKILL."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()

    @contextmanager
    def client(self) -> Iterator[FleetClient]:
        with FleetClient(f"unix:{self.directory / 'rpc.sock'}") as client:
            yield client

    def apply(self, fleet: object) -> None:
        """Make the fleet what the document says, as soon as the daemon takes it."""

        def try_once() -> bool:
            try:
                with self.client() as client:
                    client.apply(yaml.safe_dump(fleet))
            except RpcError:
                return False
            return True

        eventually("the fleet is applied", try_once)

    def status(self) -> FleetStatus:
        with self.client() as client:
            return client.status()

    def pool(self) -> PoolStatus:
        """The pool `web` as the fleet has it."""
        (pool,) = self.status().pools
        return pool

    def loaded(self) -> NodePool:
        """What the node's kernel has of `web`."""
        (node,) = self.status().nodes
        return node.pools[0]

    def kernel_epoch(self) -> int:
        """The epoch of `web` that carries the traffic, whatever the daemon says."""
        current = Inspection.open(self.pins).tables()[WEB].current
        return 0 if current is None else current.epoch

    def metric(self, line: str) -> str:
        """The value of the one metric whose name and labels are `line`; empty while there is none."""
        text = inside(self.cable.near, lambda: urlopen(f"http://{METRICS}/metrics").read().decode())
        values: dict[str, str] = dict(
            each.rsplit(" ", 1) for each in text.splitlines() if not each.startswith("#")
        )
        return values.get(line, "")

    def in_store(self, work: Callable[[FleetStore], Awaitable[T]]) -> T:
        """Do something to the fleet's memory, as another node would."""
        return in_store(tree_of(self.directory), work)

    def view(self) -> FleetView:
        async def look(store: FleetStore) -> FleetView:
            return store.view()

        return self.in_store(look)

    def offer(self, epoch: Epoch) -> None:
        """Offer an epoch, as a leader does, whatever its build."""
        self.in_store(lambda store: store.create_epoch(epoch))

    def spoil(self, number: int, value: bytes) -> None:
        """Put something else in the place of an epoch's record."""
        tree = tree_of(self.directory)
        in_store(tree, lambda _: tree.put(epoch_path(WEB, EpochNumber(number)), value))

    def epoch(self, number: int) -> Epoch:
        return self.view().epochs[WEB][EpochNumber(number)]

    def _answers(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, self.log
        try:
            self.status()
        except RpcError:
            return False
        return True


@contextmanager
def node_machine(directory: Path) -> Iterator[NodeMachine]:
    """A node, not yet started; nothing of it stays."""
    with laid() as cable:
        machine = NodeMachine(cable, directory)
        try:
            yield machine
        finally:
            machine.stop()
            bpffs.unmount(machine.pins)
