"""Maps of another making: filled beside those that carry the packets, which end only with `take_over`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lbnode.dataplane.inspection import Inspection
from lbnode.dataplane.libbpf import Map, XdpLink, XdpMode, xdp_mode
from lbnode.dataplane.node import NodeDataPlane, unload
from lbnode.dataplane.pins import Pins
from tests.bpf.node_world import SMALL, fill, mounted
from tests.bpf.test_node_adoption import assert_serves, pinned
from tests.integration.cable import inside, laid

OTHER = replace(SMALL, table_places=16384)
MORE_FLOWS = replace(SMALL, flows=1 << 10)


@pytest.fixture
def pins() -> Iterator[Path]:
    """A node that carries packets on an interface of its own, and whose daemon has ended."""
    with mounted() as directory, laid() as cable:

        def start() -> None:
            with NodeDataPlane.open(directory, SMALL) as node:
                fill(node)
                node.attach("lo", "generic")

        inside(cable.near, start)
        yield directory
        inside(cable.near, lambda: unload(directory))
        assert inside(cable.near, lambda: xdp_mode(socket.if_nametoindex("lo"))) is None


def running(pins: Path) -> int:
    """The number of the program that packets meet."""
    (path,) = Pins(pins).link_paths()
    link = XdpLink.open_pinned(path)
    try:
        return link.program_id
    finally:
        link.close()


def map_id(pins: Path, name: str) -> int:
    """The kernel's number of a map in use."""
    opened = Map.open_pinned(pins / "node" / name)
    try:
        return opened.id
    finally:
        opened.close()


def test_packets_keep_their_program_and_maps_until_the_new_ones_take_over(pins: Path) -> None:
    before, tables = running(pins), Inspection.open(pins).tables()
    with NodeDataPlane.open(pins, OTHER) as node:
        assert node.is_waiting
        assert not node.tables()
        fill(node)
        assert (running(pins), Inspection.open(pins).tables()) == (before, tables)
        node.take_over()
        assert not node.is_waiting
        assert node.replaced
        assert running(pins) == node.program.id
        assert_serves(node)
    assert len(pinned(pins)) == 3


def test_a_daemon_that_ends_before_it_takes_over_changes_nothing(pins: Path) -> None:
    before = running(pins)
    for _ in range(2):
        with NodeDataPlane.open(pins, OTHER) as node:
            assert node.is_waiting
    assert running(pins) == before
    with NodeDataPlane.open(pins, SMALL) as node:
        assert node.is_adopted
        assert_serves(node)
    assert len(pinned(pins)) == 3


def test_a_daemon_that_ends_between_program_and_pins_is_followed_by_one_that_fills_again(pins: Path) -> None:
    with NodeDataPlane.open(pins, OTHER) as node:
        fill(node)
        node._attachments.refresh(has_same_maps=False)
        carrying = running(pins)
    with NodeDataPlane.open(pins, OTHER) as node:
        assert node.is_waiting
        fill(node)
        assert running(pins) == carrying
        node.take_over()
        assert running(pins) != carrying
        assert_serves(node)
    assert len(pinned(pins)) == 3


def test_maps_whose_pins_are_damaged_go_on_until_new_ones_take_over(pins: Path) -> None:
    (pins / "node" / "tables").unlink()
    before = running(pins)
    with NodeDataPlane.open(pins, SMALL) as node:
        assert node.is_waiting
        fill(node)
        assert running(pins) == before
        node.take_over()
        assert_serves(node)


def test_another_mode_is_not_taken_up_while_packets_go_by_other_maps(pins: Path) -> None:
    with laid() as cable, mounted() as directory:

        def upgrade() -> None:
            with NodeDataPlane.open(directory, SMALL) as node:
                node.attach("eth0", "generic")
            with NodeDataPlane.open(directory, OTHER) as node:
                assert node.attach("eth0", "native").mode == "generic"
                node.take_over()
                assert node.attach("eth0", "native").mode == "native"
                assert xdp_mode(socket.if_nametoindex("eth0")) is XdpMode.NATIVE

        inside(cable.near, upgrade)


def test_what_packets_have_written_down_is_kept_where_it_can_be(pins: Path) -> None:
    flows, tables = map_id(pins, "flows"), map_id(pins, "tables")
    with NodeDataPlane.open(pins, OTHER) as node:
        node.take_over()
    assert (map_id(pins, "flows") == flows, map_id(pins, "tables") == tables) == (True, False)
    with NodeDataPlane.open(pins, MORE_FLOWS) as node:
        node.take_over()
    assert map_id(pins, "flows") != flows
