"""Frames for another machine's MAC, which a switch may bring: they are left to the stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.model import Verdict
from lbnode.dataplane.node import NodeDataPlane
from tests.bpf import node_frames as frames
from tests.bpf.node_world import LOOPBACK, OWN_MAC, SMALL, VIP, fill, mounted

OTHER_MAC = bytes.fromhex("0200000000ab")
FRAME = frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(dport=80, flags="A"))
SAME_PLACE = LOOPBACK + 256


@pytest.fixture
def pins() -> Iterator[Path]:
    with mounted() as directory:
        yield directory


@pytest.fixture
def node(pins: Path) -> Iterator[NodeDataPlane]:
    with NodeDataPlane.open(pins, SMALL) as opened:
        fill(opened)
        yield opened


def is_taken(node: NodeDataPlane, mac: bytes) -> bool:
    before = node.counters()["pass_not_ours"].packets
    verdict = node.program.test_run(mac + FRAME[6:]).retval
    left = node.counters()["pass_not_ours"].packets - before
    assert (verdict == Verdict.PASS) == bool(left)
    return not left


def test_a_frame_that_a_switch_floods_is_left_to_the_stack_and_counted(node: NodeDataPlane) -> None:
    assert is_taken(node, OWN_MAC)
    assert not is_taken(node, OTHER_MAC)
    assert not is_taken(node, b"\xff" * 6)


def test_an_interface_whose_mac_changes_takes_frames_for_the_new_one(node: NodeDataPlane) -> None:
    node.set_interfaces({LOOPBACK: OTHER_MAC})
    assert is_taken(node, OTHER_MAC)
    assert not is_taken(node, OWN_MAC)


def test_an_interface_whose_mac_nobody_told_takes_every_frame(node: NodeDataPlane) -> None:
    node.set_interfaces({LOOPBACK + 1: OWN_MAC})
    assert is_taken(node, OTHER_MAC)


def test_interfaces_that_share_a_place_take_every_frame(node: NodeDataPlane) -> None:
    node.set_interfaces({LOOPBACK: OWN_MAC, SAME_PLACE: OTHER_MAC})
    assert is_taken(node, OWN_MAC)
    assert is_taken(node, b"\xff" * 6)


def test_the_macs_outlive_the_daemon(pins: Path, node: NodeDataPlane) -> None:
    with NodeDataPlane.open(pins, SMALL) as adopted:
        assert not is_taken(adopted, OTHER_MAC)


def test_what_is_no_mac_is_refused_and_changes_nothing(node: NodeDataPlane) -> None:
    with pytest.raises(DataPlaneError, match="interface 7: MAC 02:00: must have 6 bytes"):
        node.set_interfaces({LOOPBACK: OTHER_MAC, 7: b"\x02\x00"})
    assert is_taken(node, OWN_MAC)
