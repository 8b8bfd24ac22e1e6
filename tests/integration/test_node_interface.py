"""The node's interface goes down, is removed, and comes back: traffic goes on after it, status says why it does not.

Routers that are reached another way are told, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.cable import connect, eventually, ip, ip_json
from tests.integration.nodes import NodeMachine, node_machine
from tests.life.drill import BACKENDS, VIP, forwards, set_up


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeMachine]:
    with node_machine(tmp_path) as machine:
        set_up(machine)
        yield machine


def alarms(node: NodeMachine) -> str:
    return "\n".join(f"{each.subject}: {each.what}" for each in node.status().problems)


def says(node: NodeMachine, words: str) -> bool:
    return words in alarms(node)


def lines(node: NodeMachine, words: str) -> int:
    return node.log.count(words)


def test_an_interface_that_was_down_forwards_again_and_status_said_so(node: NodeMachine) -> None:
    assert forwards(node)
    ip("-n", node.cable.near, "link", "set", "eth0", "down")
    eventually("the alarm", lambda: "interface eth0: down; ip link set eth0 up" in alarms(node))
    ip("-n", node.cable.near, "link", "set", "eth0", "up")
    eventually("no alarm", lambda: "interface eth0" not in alarms(node))
    assert forwards(node)
    assert lines(node, "interface eth0: down") == 1
    assert lines(node, "interface is up again") == 1


PASS = Path(__file__).resolve().parents[2] / "lbnode" / "bpf" / "build" / "pass.bpf.o"
BGP = {
    "local_as": 65000,
    "router_id": "10.0.0.2",
    "local_address": "127.0.0.1",
    "neighbors": [{"address": "127.0.0.2", "peer_as": 65000}],
}
"""A router that is reached otherwise than by eth0; that it never answers does not matter to what it would be told."""


def announced(node: NodeMachine) -> list[str]:
    (status,) = node.status().nodes
    return [str(address) for address in status.announced]


def test_vips_are_withdrawn_while_no_packet_can_come_in(node: NodeMachine) -> None:
    node.stop()
    node.start(bgp=BGP)
    eventually("announced", lambda: announced(node) == [str(VIP)])
    for end, why in ((node.cable.far, "has no carrier"), (node.cable.near, "is down")):
        ip("-n", end, "link", "set", "eth0", "down")
        eventually("withdrawn", lambda: not announced(node))
        eventually("why", partial(says, node, f"{VIP} is not announced: its interface eth0 {why}"))
        ip("-n", end, "link", "set", "eth0", "up")
        eventually("announced again", lambda: announced(node) == [str(VIP)])
    assert "eth0" not in alarms(node)


def test_vips_are_withdrawn_when_the_interface_is_gone(node: NodeMachine) -> None:
    node.stop()
    node.start(bgp=BGP)
    eventually("announced", lambda: announced(node) == [str(VIP)])
    ip("-n", node.cable.near, "link", "del", "eth0")
    eventually("withdrawn", lambda: not announced(node))
    assert f"{VIP} is not announced: its interface eth0 is gone" in alarms(node)
    connect(node.cable)
    for number in BACKENDS:
        ip("-n", node.cable.far, "addr", "add", f"10.0.0.{10 + number}/24", "dev", "eth0")
    eventually("announced again", lambda: announced(node) == [str(VIP)])


def test_vips_are_withdrawn_while_the_program_cannot_hang_on_the_interface(node: NodeMachine) -> None:
    node.stop()
    node.start(bgp=BGP)
    eventually("announced", lambda: announced(node) == [str(VIP)])
    near = node.cable.near
    ip("-n", near, "link", "add", "new0", "type", "veth", "peer", "name", "new1")
    ip("-n", near, "link", "set", "new0", "xdpgeneric", "obj", str(PASS), "sec", "xdp")
    ip("-n", near, "link", "del", "eth0")
    ip("-n", near, "link", "set", "new0", "name", "eth0")
    for end in ("new1", "eth0"):
        ip("-n", near, "link", "set", end, "up")
    why = f"{VIP} is not announced: the program is not on its interface eth0"
    eventually("why", lambda: why in alarms(node))
    assert not announced(node)
    ip("-n", near, "link", "set", "eth0", "xdpgeneric", "off")
    eventually("announced again", lambda: announced(node) == [str(VIP)])


def index_of(node: NodeMachine) -> int:
    return int(ip_json("-n", node.cable.near, "link", "show", "eth0")[0]["ifindex"])


def test_an_interface_that_was_made_anew_forwards_again_and_status_said_so(node: NodeMachine) -> None:
    """Under the very index that it had, which is the hardest to notice."""
    index = index_of(node)
    ip("-n", node.cable.near, "link", "del", "eth0")
    eventually("the alarm", lambda: "interface eth0: no such interface" in alarms(node))
    connect(node.cable, index)
    for number in BACKENDS:
        ip("-n", node.cable.far, "addr", "add", f"10.0.0.{10 + number}/24", "dev", "eth0")
    eventually("no alarm", lambda: "interface eth0" not in alarms(node))
    eventually("traffic goes on", lambda: forwards(node))
    assert lines(node, "no such interface") == 1


def test_an_interface_that_was_made_anew_while_no_daemon_ran_is_taken_by_the_next(node: NodeMachine) -> None:
    node.stop()
    ip("-n", node.cable.near, "link", "del", "eth0")
    connect(node.cable, 77)
    for number in BACKENDS:
        ip("-n", node.cable.far, "addr", "add", f"10.0.0.{10 + number}/24", "dev", "eth0")
    node.start()
    eventually("traffic goes on", lambda: forwards(node))
    assert [path.name for path in node.pins.glob("link_*")] == ["link_77"]
