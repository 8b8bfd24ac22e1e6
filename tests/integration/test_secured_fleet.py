"""A node and an agent as an operator sets them up by docs/security.md: ZooKeeper closed, gRPC by mutual TLS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from typer.testing import CliRunner

from lbnode.cli.ctl import app
from lbnode.netdev import bpffs
from lbnode.rpc.client import FleetClient
from tests.integration.cable import Cable, eventually, inside, laid
from tests.zookeeper import ZooKeeperServer

NODE, BACKEND, STORE = "10.0.0.2", "10.0.0.1", "10.0.0.1"
RPC = f"{NODE}:7946"
START_S = 60.0
FLEET = {
    "fleet": "demo",
    "backends": [{"name": "b1", "address": BACKEND}],
    "pools": [{"name": "web", "backends": ["b1"], "health": "off"}],
    "vips": [{"address": "192.0.2.80", "port": 80, "protocol": "tcp", "pool": "web"}],
}


@dataclass(slots=True)
class Site:
    """The operator's machine, which is also the backend's and the store's (far), and the node's (near)."""

    cable: Cable
    directory: Path
    stack: ExitStack
    zookeeper: ZooKeeperServer

    def lbctl(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask the node from the far machine, with `who`'s certificate."""
        files = (f"--{kind}={self.directory / name}" for kind, name in _files(who))
        command = ["nsenter", f"--net=/run/netns/{self.cable.far}", _installed("lbctl"), "--node", RPC]
        return subprocess.run(
            [*command, *files, *words], capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, command: str, namespace: str, settings: dict[str, Any]) -> None:
        """Run a daemon until the test ends."""
        folder = self.directory / command
        folder.mkdir()
        self.stack.callback(bpffs.unmount, folder / "run" / "bpf")
        (folder / "config.yaml").write_text(
            yaml.safe_dump(
                {
                    "fleet": "demo",
                    "interface": "eth0",
                    "state_dir": str(folder / "state"),
                    "run_dir": str(folder / "run"),
                    **settings,
                }
            )
        )
        words = ["nsenter", f"--net=/run/netns/{namespace}", _installed(command), "run", "--config"]
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen([*words, str(folder / "config.yaml")], stderr=log)
        self.stack.callback(_end, daemon)

    @property
    def socket(self) -> Path:
        """Where the node answers on its own machine."""
        return self.directory / "rpc.sock"

    def log(self, command: str) -> str:
        return (self.directory / command / "log").read_text()

    def store(self, party: str) -> dict[str, object]:
        secret = str(self.directory / f"store-{party}.yaml")
        return {"kind": "zookeeper", "hosts": [self.zookeeper.hosts], "secret_file": secret}


def _installed(command: str) -> str:
    return str(Path(sys.executable).with_name(command))


def _files(who: str) -> list[tuple[str, str]]:
    return [("cert", f"{who}.crt"), ("key", f"{who}.key"), ("ca", "ca.crt")]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def _zookeeper(cable: Cable, directory: Path) -> Iterator[ZooKeeperServer]:
    server = ZooKeeperServer(directory, STORE, 2181, tick_ms=200)
    inside(cable.far, server.start)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        cable = stack.enter_context(laid())
        zookeeper = stack.enter_context(_zookeeper(cable, tmp_path / "zookeeper"))
        made = Site(cable, tmp_path, stack, zookeeper)
        certs(made, "ca", "demo")
        certs(made, "issue", "demo", "node", "n1", "--address", NODE)
        certs(made, "issue", "demo", "operator", "alice")
        certs(made, "issue", "demo", "reader", "grafana")
        certs(made, "store")
        yield made


def certs(site: Site, *words: str) -> None:
    done = CliRunner().invoke(app, ["certs", *words, "--dir", str(site.directory)])
    assert done.exit_code == 0, done.stderr


def start_node(site: Site) -> None:
    tls = {"certificate": "n1.crt", "key": "n1.key", "ca": "ca.crt"}
    site.start(
        "lbnode",
        site.cable.near,
        {
            "name": "n1",
            "address": NODE,
            "store": site.store("nodes"),
            "rpc": {
                "listen": [f"unix:{site.socket}", "0.0.0.0:7946"],
                "tls": {kind: str(site.directory / name) for kind, name in tls.items()},
            },
        },
    )
    eventually("the node answers", site.socket.exists, START_S)


def start_agent(site: Site) -> None:
    settings = {"name": "b1", "address": BACKEND, "store": site.store("backends")}
    site.start("lbbackend", site.cable.far, settings)


def state_of_the_backend(site: Site) -> str:
    with FleetClient(f"unix:{site.socket}") as client:
        (pool,) = client.status().pools
    (slot,) = pool.slots
    return slot.state.value


def alarms(site: Site) -> str:
    """What status says is wrong, after a connection that makes the node look at its certificate."""
    return site.lbctl("alice", "status").stdout


def test_a_secured_fleet_serves_its_own_and_nobody_else(site: Site) -> None:
    start_agent(site)
    start_node(site)
    fleet = site.directory / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(FLEET))

    refused = site.lbctl("grafana", "apply", "-f", str(fleet), "--yes")
    assert refused.returncode == 1
    assert "reader grafana of fleet demo may not Apply" in refused.stderr

    def applied() -> bool:
        return site.lbctl("alice", "apply", "-f", str(fleet), "--yes").returncode == 0

    eventually("the operator's fleet is applied", applied, START_S)
    assert "change asked" in site.log("lbnode")
    assert "by=alice" in site.log("lbnode")
    eventually("the agent serves the VIP", lambda: "serving" in site.log("lbbackend"), START_S)
    eventually("the backend is active", lambda: state_of_the_backend(site) == "active", START_S)
    assert "store: refused" not in site.log("lbnode") + site.log("lbbackend")

    certs(site, "issue", "demo", "node", "n1", "--address", NODE, "--days", "5", "--renew")
    eventually("the renewed certificate is in use", lambda: "expires in 4 days" in alarms(site), START_S)
    assert site.lbctl("grafana", "status").returncode == 0

    stranger = inside(site.cable.far, lambda: KazooClient(site.zookeeper.hosts))
    inside(site.cable.far, stranger.start)
    try:
        with pytest.raises(NoAuthError):
            stranger.get("/evenkeel/demo/identity")
        with pytest.raises(NoAuthError):
            stranger.create("/evenkeel/demo/epochs/web/0000000099", b"a trap")
    finally:
        stranger.stop()
        stranger.close()
