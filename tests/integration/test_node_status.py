"""`lbnode status`, and what it tells of real pings: the machine is asked, not the daemon."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbnode.model.outcomes import NODE_OUTCOMES
from tests.integration.agents import PASS
from tests.integration.cable import eventually, inside, ip, ip_json
from tests.integration.nodes import WEB, NodeMachine, node_machine

VIP, VIP6 = "192.0.2.10", "2001:db8::10"
CLIENT6 = "2001:db8:c::1"
BACKEND = "10.0.0.11"
FLEET = {
    "fleet": "demo",
    "backends": [{"name": "b1", "address": BACKEND, "agent": False}],
    "pools": [{"name": WEB, "backends": ["b1"], "table_size": 251, "health": "off"}],
    "vips": [{"address": each, "port": 80, "protocol": "tcp", "pool": WEB} for each in (VIP, VIP6)],
}
PINGS = 5
SYN_FRAME = 14 + 20 + 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeMachine]:
    """A node that serves a VIP of each family, for the far end as its client."""
    with node_machine(tmp_path) as machine:
        far = machine.cable.far
        ip("-n", far, "link", "set", "eth0", "xdpdrv", "obj", str(PASS), "sec", "xdp")
        ip("-n", far, "route", "add", f"{VIP}/32", "via", "10.0.0.2")
        ip("-n", far, "addr", "add", f"{CLIENT6}/64", "dev", "eth0", "nodad")
        (near,) = ip_json("-n", machine.cable.near, "link", "show", "eth0")
        ip("-n", far, "neigh", "add", "fe80::2", "lladdr", near["address"], "dev", "eth0")
        ip("-n", far, "route", "add", f"{VIP6}/128", "via", "fe80::2", "dev", "eth0", "src", CLIENT6)
        machine.start()
        machine.apply(FLEET)
        eventually("epoch 1 is in use", lambda: machine.status().agree and machine.pool().current == 1)
        yield machine


def status(node: NodeMachine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.run("status", "--json"))
    return found


def ping(node: NodeMachine, address: str, size: int = 56) -> None:
    """Send a few echo requests; each must be answered."""
    command = ["ping", "-q", "-c", str(PINGS), "-i", "0.01", "-W", "2", "-s", str(size), address]
    inside_far = ["nsenter", f"--net=/run/netns/{node.cable.far}"]
    ended = subprocess.run([*inside_far, *command], capture_output=True, text=True, timeout=30, check=False)
    assert f"{PINGS} received" in ended.stdout, ended.stdout + ended.stderr


def test_a_vip_answers_every_ping_of_any_size(node: NodeMachine) -> None:
    for address in (VIP, VIP6):
        for size in (0, 56, 1400):
            ping(node, address, size)
    assert status(node)["packets"]["answered_echo"] == 6 * PINGS


def test_status_tells_what_the_kernel_holds_whether_or_not_the_daemon_runs(node: NodeMachine) -> None:
    ping(node, VIP)
    running = status(node)
    assert node.daemon is not None
    assert (running["daemon_pid"], running["xdp"]) == (node.daemon.pid, "native")
    assert running["epochs"] == {WEB: 1}
    assert list(running["packets"]) == list(NODE_OUTCOMES)

    node.stop()
    ping(node, VIP)
    alone = status(node)
    assert (alone["daemon_pid"], alone["epochs"]) == (None, {WEB: 1})
    assert alone["packets"]["answered_echo"] == 2 * PINGS
    said = node.run("status")
    assert "daemon not running" in said
    assert f"{2 * PINGS} answered_echo" in said
    assert NODE_OUTCOMES["answered_echo"] in said
    assert "drop_" not in said

    node.run("unload")
    gone = status(node)
    assert (gone["xdp"], gone["epochs"], gone["packets"]) == ("detached", {}, {})


def test_the_daemon_the_machine_and_the_metrics_tell_the_same_of_a_vip_its_pool_and_backend(
    node: NodeMachine,
) -> None:
    far = node.cable.far
    ip("-n", far, "addr", "add", f"{BACKEND}/24", "dev", "eth0")
    eventually("the backend's way is known", lambda: forwards(node))
    with node.client() as client:
        told = client.traffic()
    ((vip, count),) = ((vip, count) for vip, count in told.vips.items() if count.packets)
    assert vip == f"{VIP}:80/tcp"
    assert count.bytes >= SYN_FRAME * count.packets
    assert told.pools == {WEB: count}
    assert told.backends == {"b1": count}
    assert told.outcomes["forwarded"] == count

    found = status(node)
    assert found["vips"][vip] == found["pools"][WEB] == found["backends"]["1"] == count._asdict()
    assert f"pool {WEB}: {count.packets} packets forwarded, {count.bytes} bytes" in node.run("status")
    eventually(
        "metrics say so too",
        lambda: node.metric(f'evenkeel_pool_packets_total{{pool="{WEB}"}}') == f"{count.packets}.0",
    )


def forwards(node: NodeMachine) -> bool:
    """Send a SYN to the VIP, and say whether one has gone to the backend. Nobody answers."""

    def send() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            client.connect_ex((VIP, 80))

    inside(node.cable.far, send)
    return bool(status(node)["packets"]["forwarded"] > 0)
