"""A whole fleet on one segment: a node's daemon, backends with agents, and a client whose way leads by the node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.netdev import bpffs
from tests.integration import agents
from tests.integration.agents import VIP, Segment, plug
from tests.integration.cable import Cable, ip
from tests.integration.nodes import WEB, NodeMachine
from tests.integration.tunnel import CLIENT

NODE = IPv4Address("10.0.0.100")


@contextmanager
def segment_behind_a_node(directory: Path, backends: int = 2) -> Iterator[Segment]:
    """Yield backends without agents yet, and a client that sends what is for the VIP to the node."""
    with agents.segment(directory, backends) as made:
        ip("-n", made.far, "route", "replace", f"{VIP}/32", "via", str(NODE), "src", str(CLIENT))
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{made.far}", "ethtool", "-K", "eth0", "tx", "off"],
            check=True, capture_output=True,
        )  # fmt: skip
        yield made


@contextmanager
def node_on(segment: Segment, directory: Path, fleet: Mapping[str, object]) -> Iterator[NodeMachine]:
    """Yield the node, which knows `fleet`, and start the agents."""
    namespace = f"{segment.far}n"
    ip("netns", "add", namespace)
    machine = NodeMachine(Cable(segment.far, namespace), directory)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        plug(segment.hub, namespace, NODE)
        machine.start(address=str(NODE))
        machine.apply(dict(fleet))
        for member in segment.members:
            member.start(directory / "store")
        yield machine
    finally:
        machine.stop()
        bpffs.unmount(directory / "run" / "bpf")
        ip("netns", "del", namespace)


def fleet_of(segment: Segment, vip: Mapping[str, object], **pool: object) -> dict[str, object]:
    """Return a fleet of one pool of all backends behind `vip`; `pool` are its settings."""
    names = [member.name for member in segment.members]
    whole = {"name": WEB, "backends": names, "table_size": 251, "health": "off", **pool}
    return {
        "fleet": "demo",
        "backends": [{"name": each.name, "address": str(each.address)} for each in segment.members],
        "pools": [whole],
        "vips": [{"address": str(VIP), "pool": WEB, **vip}],
    }


def owners(node: NodeMachine) -> set[str]:
    """Who gets new flows by the table in use."""
    pool = node.pool()
    return {slot.backend or "" for slot in pool.slots if pool.current and pool.share(slot) > 0}
