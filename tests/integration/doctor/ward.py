"""A small fleet to break: one node, two backends with their services, on one segment, by real daemons.

The far end of every cable is a port of the bridge in `hub`; the fleet's memory is a directory. What a test breaks for
a moment is not taken out of the pool by its health.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.netdev import bpffs
from tests.integration.agents import PORT, VIP, Member, folder, plug, serving
from tests.integration.cable import Cable, eventually, ip
from tests.integration.doctor.bedside import Report, ethtool, examined_backend, examined_node
from tests.integration.nodes import NodeMachine

NODE = IPv4Address("10.0.0.2")
ROUTER = IPv4Address("10.0.0.99")
FLEET = {
    "fleet": "demo",
    "backends": [{"name": "b2", "address": "10.0.0.3"}, {"name": "b3", "address": "10.0.0.4"}],
    "pools": [
        {
            "name": "web",
            "backends": ["b2", "b3"],
            "table_size": 251,
            "affinity_window_s": 1,
            "health": {"port": PORT, "fall": 60},
        }
    ],
    "vips": [{"address": str(VIP), "port": PORT, "protocol": "tcp", "pool": "web"}],
}


@dataclass(slots=True)
class Ward:
    """The machines. By a backend's name: `services` end its server, `agents` is its agent's process."""

    hub: str
    node: NodeMachine
    backends: dict[str, Member]
    services: dict[str, ExitStack] = field(default_factory=dict)
    agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def examine_node(self) -> Report:
        return examined_node(self.node.cable.near, self.node.directory / "lbnode.yaml")

    def examine_backend(self, name: str) -> Report:
        member = self.backends[name]
        return examined_backend(member.namespace, member.directory / "lbbackend.yaml")


@contextmanager
def ward(directory: Path) -> Iterator[Ward]:
    """The fleet, in service; nothing of it stays."""
    with ExitStack() as stack:
        tag = f"ekw{os.getpid()}"
        hub, near = f"{tag}h", f"{tag}n"
        members = [Member(n, f"{tag}b{n}", folder(directory / f"b{n}"), stack) for n in (2, 3)]
        for namespace in (hub, near, *(member.namespace for member in members)):
            ip("netns", "add", namespace)
            stack.callback(ip, "netns", "del", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "br0", "type", "bridge")
        ip("-n", hub, "link", "set", "br0", "mtu", "1600", "up")
        made = Ward(hub, NodeMachine(Cable(hub, near), directory), {m.name: m for m in members})
        _start(made, directory, stack)
        yield made


def _start(made: Ward, directory: Path, stack: ExitStack) -> None:
    """Plug everything in and run it; returns when the node gives flows to both backends."""
    _connect(made.hub, made.node.cable.near, NODE)
    stack.callback(bpffs.unmount, directory / "run" / "bpf")
    stack.callback(made.node.stop)
    made.node.start()
    made.node.apply(FLEET)
    for member in made.backends.values():
        _connect(made.hub, member.namespace, member.address)
        stack.callback(bpffs.unmount, member.directory / "run" / "bpf")
        made.services[member.name] = stack.enter_context(ExitStack())
        made.services[member.name].enter_context(serving(member))
        made.agents[member.name] = member.start(directory / "store")
    eventually("both backends take flows", lambda: _shares(made) == {"b2", "b3"})


def _connect(hub: str, namespace: str, address: IPv4Address) -> None:
    """A cable on which nobody leaves checksums to hardware."""
    plug(hub, namespace, address)
    ethtool(hub, "-K", f"p{int(address) & 0xFF}", "tx", "off")
    ethtool(namespace, "-K", "eth0", "tx", "off")


def _shares(made: Ward) -> set[str | None]:
    if not made.node.status().pools:
        return set()
    return {slot.backend for slot in made.node.pool().slots if slot.buckets and slot.state.value == "active"}
