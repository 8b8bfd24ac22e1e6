"""A lab that is up, as drills and commands work with it: its nodes, their daemons, the router's routes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import psutil

from lbnode.lab import configs, namespaces, record
from lbnode.lab.errors import OverdueError
from lbnode.lab.plan import VIP, Host, Plan, Role
from lbnode.lab.shell import inside, run
from lbnode.model.ids import IPAddress
from lbnode.rpc.client import FleetClient

POLL_S = 0.1


class RunningLab:
    """Looks at a lab. What changes it is in `assembly` and `network`."""

    def __init__(self, lab: record.LabRecord) -> None:
        self.record = lab

    @property
    def plan(self) -> Plan:
        """Names and sizes of the lab as it is now."""
        return self.record.plan

    @property
    def nodes(self) -> list[Host]:
        """The nodes, by number."""
        return self.plan.of(Role.NODE)

    def directory(self, host: str) -> Path:
        """Where everything of a host lies."""
        return record.directory(self.plan.lab) / host

    @contextmanager
    def client(self, node: str) -> Iterator[FleetClient]:
        """Talk to the fleet through a node."""
        with FleetClient(configs.rpc_address(self.directory(node))) as client:
            yield client

    def next_hops(self, vip: IPAddress = VIP) -> set[str]:
        """The nodes to which the router's kernel sends a VIP's packets now, by name."""
        where = ["ip", "-j", f"-{vip.version}", "route", "show", f"{vip}/{vip.max_prefixlen}"]
        text = run(inside(self.plan.router, where))
        by_address = {end: host.name for host in self.nodes for end in (host.address, host.address6)}
        return {by_address[hop] for hop in _gateways(text) if hop in by_address}

    def exabgp(self, node: Host) -> list[int]:
        """Process ids of the node's ExaBGP, without the helpers that it runs."""
        found = []
        for pid in namespaces.processes_in([node.namespace]):
            try:
                words = psutil.Process(pid).cmdline()
            except psutil.NoSuchProcess:
                continue
            if any(Path(word).name == "exabgp" for word in words[:3]) and "server" in words:
                found.append(pid)
        return found


def _gateways(routes: str) -> set[IPAddress]:
    """The gateways in what `ip -j route show` printed."""
    found: set[IPAddress] = set()
    for route in json.loads(routes or "[]"):
        for hop in route.get("nexthops", [route]):
            if "gateway" in hop and "linkdown" not in hop.get("flags", []):
                found.add(ip_address(hop["gateway"]))
    return found


def wait_until(true: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return as soon as `true()` holds. Raises OverdueError naming `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise OverdueError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)
