"""The near machine of a cable: one agent's files and processes, and the fleet's memory beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lbnode.model.ids import PoolName
from lbnode.store.fleet import FleetStore
from tests.integration.cable import Cable, eventually, ip_json
from tests.integration.memory import FLEET, in_store, tree_of
from tests.integration.tunnel import BACKEND

VIP = IPv4Address("192.0.2.80")
PORT = 80
WEB = PoolName("web")

T = TypeVar("T")


@dataclass(slots=True)
class Backend:
    """The near machine: one agent's files, its processes, and a server on the VIP."""

    cable: Cable
    directory: Path
    stack: ExitStack
    settings: dict[str, Any] = field(default_factory=dict)
    wrapper: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = {
            "name": "b1",
            "fleet": FLEET,
            "address": str(BACKEND),
            "interface": "eth0",
            "store": {"kind": "file", "path": str(self.directory / "store")},
            "state_dir": str(self.directory / "state"),
            "run_dir": str(self.directory / "run"),
            "path_mtu": 1500,
        }

    @property
    def config(self) -> Path:
        path = self.directory / "lbbackend.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self, until: str = "attached") -> subprocess.Popen[bytes]:
        """Start the agent and wait until its log says `until`: that it holds the machine."""
        with (self.directory / "log").open("wb") as log:
            agent = subprocess.Popen(self._command("run"), stderr=log)
        self.stack.callback(_end, agent)
        eventually(f"the agent is {until}", lambda: agent.poll() is not None or until in self.log)
        assert agent.poll() is None, self.log
        return agent

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the agent and wait until the VIP is served."""
        agent = self.start()
        eventually("the VIP is served", lambda: re.search(r"serving .*vips=2", self.log))
        return agent

    def run(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(verb, *words), capture_output=True, text=True, timeout=30, check=False
        )

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def in_store(self, work: Callable[[FleetStore], Awaitable[T]]) -> T:
        """Do something to the fleet's memory, as a node would."""
        return in_store(tree_of(self.directory), work)

    def _command(self, verb: str, *words: str) -> list[str]:
        lbbackend = str(Path(sys.executable).with_name("lbbackend"))
        inside_near = ["nsenter", f"--net=/run/netns/{self.cable.near}"]
        return [*inside_near, *self.wrapper, lbbackend, verb, "--config", str(self.config), *words]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


async def drop(store: FleetStore, desired: Any) -> None:
    await store.write_desired(desired, store.view().desired_version)


def on_lo(cable: Cable) -> set[IPv4Address]:
    (link,) = ip_json("-n", cable.near, "-4", "addr", "show", "dev", "lo")
    return {IPv4Address(entry["local"]) for entry in link["addr_info"]}
