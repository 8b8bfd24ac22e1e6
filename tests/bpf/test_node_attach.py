"""The program on real interfaces: native, generic and why, replaced under traffic, surviving its daemon."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

import hatch_build
from lbnode.dataplane.errors import AttachError
from lbnode.dataplane.libbpf import BpfObject, XdpLink, XdpMode, xdp_mode
from lbnode.dataplane.node import OBJECT, NodeDataPlane, unload
from lbnode.dataplane.values import NextHop, VipEntry
from lbnode.model.fleet import Protocol
from lbnode.model.ids import PoolName
from tests.bpf import node_frames as frames
from tests.bpf.node_world import SMALL, SOURCES, VIP, mounted
from tests.bpf.test_node_adoption import pinned
from tests.bpf.test_node_tables import backends, uniform
from tests.integration.cable import Cable, enter, inside, ip, laid
from tests.life.releases import compile_node

PASS_OBJECT = OBJECT.with_name("pass.bpf.o")
WEB = PoolName("web")
HOP_MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
FRAME = frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(dport=80, flags="A"))
ALL_PROTOCOLS = 3
BURST = 200

DAEMON = """
import os, signal, sys
from pathlib import Path
from lbnode.dataplane.node import NodeDataPlane
from tests.bpf.test_node_attach import fill_for_cable
from tests.bpf.node_world import SMALL
from tests.life.releases import compile_node
from tests.integration.cable import enter
enter(sys.argv[2])
node = NodeDataPlane.open(Path(sys.argv[1]), SMALL)
fill_for_cable(node)
node.attach("eth0", sys.argv[3])
os.kill(os.getpid(), signal.SIGKILL)
"""


def fill_for_cable(node: NodeDataPlane) -> None:
    """One VIP whose backends are reached back through eth0."""
    hop = NextHop(socket.if_nametoindex("eth0"), *HOP_MACS, 1600)
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_source(SOURCES)
    node.set_backends(backends(hop))
    node.set_vips([VipEntry(VIP, Protocol.TCP, 80, WEB)])


@dataclass(frozen=True, slots=True)
class FarEnd:
    """A raw socket at the far end of the cable."""

    wire: socket.socket

    def exchange(self, count: int) -> int:
        """Send `count` frames; return how many came back with the outer header, in at most 5 s."""
        for _ in range(count):
            self.wire.send(FRAME)
        return self.receive(count)

    def receive(self, count: int) -> int:
        """Return how many encapsulated frames came, waiting for `count` of them."""
        found = 0
        try:
            while found < count:
                frame = self.wire.recv(2048)
                found += frame[6:12] == HOP_MACS[0] and frame[14 + 28 :] == FRAME[14:]
        except TimeoutError:
            pass
        return found


@pytest.fixture
def cable() -> Iterator[Cable]:
    with laid() as made:
        yield made


@pytest.fixture
def pins() -> Iterator[Path]:
    with mounted() as directory:
        yield directory


@pytest.fixture
def far(cable: Cable) -> Iterator[FarEnd]:
    def open_socket() -> socket.socket:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        wire.bind(("eth0", ALL_PROTOCOLS))
        wire.settimeout(5)
        return wire

    with inside(cable.far, open_socket) as wire:
        yield FarEnd(wire)


@pytest.fixture
def far_takes_xdp(cable: Cable) -> Iterator[None]:
    """veth gives back frames of XDP_TX only to a peer that runs an XDP program."""
    with BpfObject.open(PASS_OBJECT) as passing:
        passing.load()
        program = passing.program("pass")
        link = inside(
            cable.far, lambda: XdpLink.attach(program, socket.if_nametoindex("eth0"), XdpMode.NATIVE)
        )
        yield
        link.close()
        program.close()


def opened(pins: Path, cable: Cable, mode: str, path: Path = OBJECT) -> NodeDataPlane:
    def start() -> NodeDataPlane:
        node = NodeDataPlane.open(pins, SMALL, path)
        fill_for_cable(node)
        node.attach("eth0", mode)
        return node

    return inside(cable.near, start)


@pytest.mark.usefixtures("far_takes_xdp")
def test_native_xdp_sends_packets_back_out_with_the_outer_header(
    pins: Path, cable: Cable, far: FarEnd
) -> None:
    with opened(pins, cable, "auto") as node:
        assert str(inside(cable.near, lambda: node.attach("eth0"))) == "native"
        assert far.exchange(BURST) == BURST
        assert node.counters()["forwarded_keyed"].packets == BURST


def test_generic_xdp_needs_nothing_of_the_far_end(pins: Path, cable: Cable, far: FarEnd) -> None:
    with opened(pins, cable, "generic") as node:
        assert str(inside(cable.near, lambda: node.attach("eth0"))) == "generic: asked for"
        assert far.exchange(BURST) == BURST


def test_an_interface_without_native_xdp_gets_generic_and_the_reason(pins: Path, cable: Cable) -> None:
    with NodeDataPlane.open(pins, SMALL) as node:
        attachment = inside(cable.near, lambda: node.attach("lo"))
        assert attachment.mode == "generic"
        assert "native" in attachment.reason
        assert "not supported" in attachment.reason
        with pytest.raises(AttachError, match="attach xdp to lo"):
            inside(cable.near, lambda: node.attach("lo", "native"))


def test_an_interface_that_does_not_exist_is_named_with_those_that_do(pins: Path, cable: Cable) -> None:
    with (
        NodeDataPlane.open(pins, SMALL) as node,
        pytest.raises(AttachError, match="attach xdp to eth7: no such interface here: there are lo, eth0"),
    ):
        inside(cable.near, lambda: node.attach("eth7"))


def test_an_unknown_mode_is_refused(pins: Path) -> None:
    with NodeDataPlane.open(pins, SMALL) as node, pytest.raises(AttachError, match="auto, native, generic"):
        node.attach("lo", "turbo")


def test_another_program_on_the_interface_is_named_with_the_remedy(pins: Path, cable: Cable) -> None:
    ip("-n", cable.near, "link", "set", "dev", "eth0", "xdp", "obj", str(PASS_OBJECT), "sec", "xdp")
    with (
        NodeDataPlane.open(pins, SMALL) as node,
        pytest.raises(AttachError, match="it has another XDP program"),
    ):
        inside(cable.near, lambda: node.attach("eth0"))


@pytest.mark.usefixtures("far_takes_xdp")
def test_packets_are_forwarded_after_the_daemon_was_killed(pins: Path, cable: Cable, far: FarEnd) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", DAEMON, str(pins), cable.near, "native"], timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert far.exchange(BURST) == BURST


@pytest.mark.usefixtures("far_takes_xdp")
def test_replacing_the_program_loses_no_packet(pins: Path, cable: Cable, far: FarEnd, tmp_path: Path) -> None:
    other = compile_node(hatch_build.BPF, tmp_path / "node.bpf.o")
    opened(pins, cable, "native").close()
    replaced: list[int] = []

    def upgrade() -> None:
        enter(cable.near)
        for path in (other, OBJECT, other):
            with NodeDataPlane.open(pins, SMALL, path) as node:
                replaced.extend(node.replaced)

    upgrading = threading.Thread(target=upgrade)
    upgrading.start()
    sent = received = 0
    while upgrading.is_alive():
        received += far.exchange(50)
        sent += 50
    upgrading.join()
    assert len(replaced) == 3
    assert received == sent


def test_the_same_program_is_not_replaced(pins: Path, cable: Cable) -> None:
    opened(pins, cable, "generic").close()

    def reopen() -> list[int]:
        with NodeDataPlane.open(pins, SMALL) as node:
            return node.replaced

    assert inside(cable.near, reopen) == []


def test_asking_for_another_mode_changes_it(pins: Path, cable: Cable) -> None:
    with opened(pins, cable, "generic") as node:
        assert inside(cable.near, lambda: node.attach("eth0", "native")).mode == "native"
        assert inside(cable.near, lambda: node.attach("eth0", "auto")).mode == "native"


def test_an_adopted_generic_attachment_says_that_it_was_found_so(pins: Path, cable: Cable) -> None:
    opened(pins, cable, "generic").close()
    with NodeDataPlane.open(pins, SMALL) as node:
        assert str(inside(cable.near, lambda: node.attach("eth0"))).startswith("generic: it was attached so")


def test_an_adopted_generic_attachment_that_is_asked_for_says_so(pins: Path, cable: Cable) -> None:
    opened(pins, cable, "generic").close()
    with NodeDataPlane.open(pins, SMALL) as node:
        assert str(inside(cable.near, lambda: node.attach("eth0", "generic"))) == "generic: asked for"


def test_the_link_of_an_interface_that_went_away_is_forgotten(pins: Path, cable: Cable) -> None:
    opened(pins, cable, "generic").close()
    ip("-n", cable.near, "link", "del", "eth0")
    with NodeDataPlane.open(pins, SMALL) as node:
        assert node.attachments() == {}
    assert not list((pins / "node").glob("link_*"))


def test_unload_takes_the_program_off(pins: Path, cable: Cable) -> None:
    opened(pins, cable, "generic").close()
    assert unload(pins)
    assert inside(cable.near, lambda: xdp_mode(socket.if_nametoindex("eth0"))) is None
    assert pinned(pins) == set()
