"""Starting what runs on the lab's hosts: router, store, servers, agents and nodes, each with its files in place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from lbnode.lab import configs, record
from lbnode.lab.errors import LabError
from lbnode.lab.plan import Host, Plan
from lbnode.lab.processes import Process, start


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


def _store_directory(plan: Plan) -> Path:
    """Where the file store of a lab lies."""
    return record.directory(plan.lab) / "store"
