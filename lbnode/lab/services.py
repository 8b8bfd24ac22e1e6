"""Starting what runs on the lab's hosts: router, store, servers, agents and nodes, each with its files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from lbnode.lab import bird, configs, record, zookeeper
from lbnode.lab.bird import RouterSettings
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.plan import HOLD_TIME_S, NODE_AS, ROUTER_AS, SEGMENTS, Host, Plan, Role
from lbnode.lab.processes import Process, is_alive, start, tail
from lbnode.lab.running import wait_until
from lbnode.lab.shell import call_inside

ZOOKEEPER_WAIT_S = 30.0


def start_router(plan: Plan) -> None:
    """Start BIRD on the router; it takes nodes from the whole nodes segment, also later ones."""
    nodes = SEGMENTS[Role.NODE]
    settings = RouterSettings(nodes.gateway, ROUTER_AS, NODE_AS, (nodes.network,), HOLD_TIME_S)
    bird.start(plan.router, settings, record.host_directory(plan.lab, "router"))


def start_zookeeper(plan: Plan, host: Host) -> Process:
    """Start a ZooKeeper server; it serves after `await_zookeeper`."""
    directory = record.host_directory(plan.lab, host.name)
    (directory / "data").mkdir(exist_ok=True)
    server = zookeeper.ServerConfig(directory / "data", str(host.address), configs.ZOOKEEPER_PORT)
    (directory / "zoo.cfg").write_text(server.text())
    return start(host.namespace, zookeeper.command(directory / "zoo.cfg"), directory / "zookeeper.log")


def await_zookeeper(host: Host, process: Process) -> None:
    """Return once the server serves clients. Raises LabError with its last words."""

    def serves() -> bool:
        if not is_alive(process):
            raise LabError(f"start ZooKeeper: it has ended: {tail(process.log)}")
        return call_inside(host.namespace, lambda: _serves(host))

    try:
        wait_until(serves, ZOOKEEPER_WAIT_S, "start ZooKeeper")
    except OverdueError as error:
        raise LabError(f"{error}: {tail(process.log)}") from error


def start_server(plan: Plan, backend: Host) -> Process:
    """Start the web server and echo of a backend."""
    directory = record.host_directory(plan.lab, backend.name)
    command = [sys.executable, "-m", "lbnode.lab.server", "--name", backend.name]
    return start(backend.namespace, command, directory / "server.log")


def start_agent(plan: Plan, backend: Host) -> Process:
    """Start `lbbackend` on a backend."""
    directory = record.host_directory(plan.lab, backend.name)
    config = configs.backend_config(plan, backend, directory, _store_directory(plan))
    return _start_daemon("lbbackend", backend, directory, config)


def start_node(plan: Plan, node: Host) -> Process:
    """Start `lbnode` on a node."""
    directory = record.host_directory(plan.lab, node.name)
    config = configs.node_config(plan, node, directory, _store_directory(plan))
    return _start_daemon("lbnode", node, directory, config)


def _start_daemon(command: str, host: Host, directory: Path, config: dict[str, Any]) -> Process:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    for name in ("state", "run"):
        (directory / name).mkdir(exist_ok=True)
    executable = Path(sys.executable).with_name(command)
    if not executable.exists():
        raise LabError(f"{executable}: not installed: pip install -e . in the environment of this Python")
    return start(host.namespace, [str(executable), "run", "--config", str(path)], directory / "daemon.log")


def _serves(host: Host) -> bool:
    return zookeeper.is_ready(str(host.address), configs.ZOOKEEPER_PORT)


def _store_directory(plan: Plan) -> Path:
    """Where the file store of a lab lies."""
    return record.directory(plan.lab) / "store"
