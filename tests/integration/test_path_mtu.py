"""Segments too large for the tunnel: the node says what fits, and the flow goes on, whatever key its bucket gets."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend
from lbnode.netdev import bpffs
from tests.integration import agents
from tests.integration.agents import PORT, VIP, Segment, ask, plug
from tests.integration.cable import Cable, eventually, ip
from tests.integration.nodes import WEB, NodeMachine
from tests.integration.tunnel import CLIENT

NODE = IPv4Address("10.0.0.100")
PATH_MTU = 1500
ROOM = PATH_MTU - 28
"""What a tunnel over IPv4 leaves, the key counted: design.md §4."""
UPLOAD = "x" * 300_000
IP_MTU = 14
"""linux/in.h; Python does not name it."""


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    """Two backends that clamp for the links' MTU; the node knows that its way to them takes less."""
    with agents.segment(tmp_path, 2) as made:
        ip("-n", made.far, "route", "replace", f"{VIP}/32", "via", str(NODE), "src", str(CLIENT))
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{made.far}", "ethtool", "-K", "eth0", "tx", "off"],
            check=True, capture_output=True,
        )  # fmt: skip
        yield made


@pytest.fixture
def node(segment: Segment, tmp_path: Path) -> Iterator[NodeMachine]:
    """A node beside the backends that sends to both of them."""
    namespace = f"{segment.far}n"
    ip("netns", "add", namespace)
    machine = NodeMachine(Cable(segment.far, namespace), tmp_path)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        plug(segment.hub, namespace, NODE)
        for member in segment.members:
            way = [f"{member.address}/32", "dev", "eth0", "mtu", str(PATH_MTU)]
            ip("-n", namespace, "route", "add", *way)
        machine.start(address=str(NODE))
        machine.apply(fleet(segment))
        for member in segment.members:
            member.start(tmp_path / "store")
        eventually("both backends serve", lambda: machine.status().agree and are_active(machine))
        yield machine
    finally:
        machine.stop()
        bpffs.unmount(tmp_path / "run" / "bpf")
        ip("netns", "del", namespace)


def fleet(segment: Segment) -> dict[str, object]:
    names = [member.name for member in segment.members]
    return {
        "fleet": "demo",
        "backends": [{"name": each.name, "address": str(each.address)} for each in segment.members],
        "pools": [{"name": WEB, "backends": names, "table_size": 251, "health": "off"}],
        "vips": [{"address": str(VIP), "port": PORT, "protocol": "tcp", "pool": WEB}],
    }


def are_active(node: NodeMachine) -> bool:
    pool = node.pool()
    return bool(pool.current) and all(pool.share(slot) > 0 for slot in pool.slots)


def counted(node: NodeMachine, outcome: str) -> int:
    return int(json.loads(node.run("status", "--json"))["packets"][outcome])


def test_an_upload_with_full_segments_goes_on_when_its_bucket_gets_a_key(
    segment: Segment, node: NodeMachine
) -> None:
    with segment.connect() as upload:
        assert upload.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > ROOM
        owner = ask(upload, UPLOAD)
        assert upload.getsockopt(socket.IPPROTO_IP, IP_MTU) == ROOM
        told, keyed = counted(node, "answered_too_big"), counted(node, "forwarded_keyed")
        assert told > 0

        before = node.pool().current or 0
        with node.client() as client:
            client.drain_backend(DrainBackend(BackendName(owner), WEB))
        eventually("the drain is in the kernel", lambda: (node.loaded().current or 0) > before)
        assert ask(upload, UPLOAD) == owner
    assert counted(node, "answered_too_big") == told
    assert counted(node, "forwarded_keyed") > keyed
