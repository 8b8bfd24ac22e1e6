"""The node's interface goes down, is removed, and comes back: traffic goes on after it, status says why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cable import connect, eventually, ip, ip_json
from tests.integration.nodes import NodeMachine, node_machine
from tests.life.drill import BACKENDS, forwards, set_up


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeMachine]:
    with node_machine(tmp_path) as machine:
        set_up(machine)
        yield machine


def alarms(node: NodeMachine) -> str:
    return "\n".join(f"{each.subject}: {each.what}" for each in node.status().problems)


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
