"""The way that is measured from end to end: a generator, the machine in question, a receiver that counts.

Three network namespaces in a row, joined by two veth pairs: start =n0= middle =n1= end. The generator's frames come by
n0 as from a cable; what the middle sends by n1 arrives at the receiver, which drops it. On a road of one arm the middle
sends by n0, and the start receives. All of it runs on the core of the system call that generates.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import numpy as np

from hatch_build import build_bpf
from lbnode.dataplane.libbpf import TEST_XDP_LIVE_FRAMES, BpfObject, Program, XdpLink, XdpMode
from lbnode.model.fleet import Protocol
from tests.bench.fleet import HOP, OWN_MAC
from tests.bench.namespaces import Namespace

GRE = 47
VIP_NETWORK, BACKEND_NETWORK = IPv4Network("198.51.0.0/16"), IPv4Network("10.1.0.0/16")
MTU = 1600
FRAME_SIZE = 64
_FOLDER = Path(__file__).resolve().parent
_BATCH = 64
_OFFLOADS = "gro off tso off gso off tx off rx off"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has to arrive: packets of a protocol to a network of 16 bits."""

    protocol: int
    network: IPv4Network


RAW = Arrival(Protocol.TCP, VIP_NETWORK)
TUNNELLED = Arrival(GRE, BACKEND_NETWORK)
TRANSLATED = Arrival(Protocol.TCP, BACKEND_NETWORK)


@dataclass(frozen=True, slots=True)
class Stream:
    """What is generated: `flows` flows over `vips` VIPs, both powers of two."""

    name: str
    frame: bytes
    flows: int
    vips: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What one call brought through: packets sent and received as expected, others, seconds of CPU time."""

    sent: int
    arrived: int
    strayed: int
    seconds: float


class Ends:
    """The programs at both ends, and what they are told and tell."""

    def __init__(self) -> None:
        with redirect_stdout(sys.stderr):
            build_bpf(_FOLDER)
        with BpfObject.open(_FOLDER / "build" / "generator.bpf.o") as each:
            each.load()
            self._generate, self.let_pass = each.program("generate"), each.program("let_pass")
            self.receive = each.program("receive")
            self.push_through, self.push_back = each.program("push_through"), each.program("push_back")
            self._job: Any = np.frombuffer(each.map("jobs").mmap(), dtype=each.btf.dtype("job"), count=1)[0]

    def set_way_out(self, interface: int) -> None:
        """Tell `push_through` where to send."""
        self._job["way_out"] = interface

    def send(self, interface: int, stream: Stream, arrival: Arrival, packets: int, first: int) -> Passage:
        """Send packets number `first` and following by `interface` of the calling thread's namespace."""
        job = self._job
        job["next"], job["flow_mask"], job["vip_mask"] = first, stream.flows - 1, stream.vips - 1
        job["arrived"] = job["strayed"] = 0
        job["ifindex"], job["sum"] = interface, _shared_sum(stream.frame)
        job["protocol"] = arrival.protocol
        job["network"] = int.from_bytes(arrival.network.network_address.packed[:2], "little")
        job["frame"] = np.frombuffer(stream.frame.ljust(FRAME_SIZE, b"\0"), dtype=job["frame"].dtype)[0]
        before = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self._generate.test_run(bytes(FRAME_SIZE), packets, flags=TEST_XDP_LIVE_FRAMES, batch_size=_BATCH)
        spent = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - before
        return Passage(int(job["next"]) - first, int(job["arrived"]), int(job["strayed"]), spent / 1e9)


def _shared_sum(frame: bytes) -> int:
    """Sum of the IPv4 header's words but checksum and addresses, as a little-endian host loads them."""
    return sum(struct.unpack_from("<5H", frame, 14))


class Road:
    """One such way; `middle` has addresses on it, permanent neighbours, and forwards nothing yet."""

    def __init__(self, ends: Ends, arms: int, start: Namespace, middle: Namespace, end: Namespace) -> None:
        self.middle = middle
        self.way_out = "n0" if arms == 1 else "n1"
        self._ends, self._start, self._end = ends, start, start if arms == 1 else end
        self._links: list[XdpLink] = []
        for place in (start, middle, end):
            place.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
        for far, name, mac, far_mac in (
            (start, "n0", OWN_MAC, HOP.destination_mac),
            (end, "n1", HOP.source_mac, HOP.destination_mac),
        ):
            _join(middle, name, mac, far, far_mac)
        with start.entered():
            self._first = socket.if_nametoindex("eth0")
        self._next = 0

    def attach(self, place: Namespace, name: str, program: Program) -> None:
        """Put a program on an interface, natively, until the road ends."""
        with place.entered():
            self._links.append(XdpLink.attach(program, socket.if_nametoindex(name), XdpMode.NATIVE))

    def interface(self, name: str) -> int:
        """Return the index of an interface of the middle."""
        with self.middle.entered():
            return socket.if_nametoindex(name)

    def let_in(self) -> None:
        """Hand what comes by n0 to the middle's own stack."""
        self.attach(self.middle, "n0", self._ends.let_pass)
        self.middle.run("ethtool -K n0 gro off")

    def receive(self) -> None:
        """Count what arrives at the far end of the way out."""
        self.attach(self._end, "eth0", self._ends.receive)

    def receive_early(self) -> None:
        """Count at n0 already: what generating alone costs."""
        self.attach(self.middle, "n0", self._ends.receive)

    def push(self) -> None:
        """Give what comes by n0 an outer header, the same for all, and send it on: what GRE costs at least."""
        self._ends.set_way_out(self.interface("n1"))
        one_arm = self.way_out == "n0"
        self.attach(self.middle, "n0", self._ends.push_back if one_arm else self._ends.push_through)

    def send(self, stream: Stream, arrival: Arrival, packets: int) -> Passage:
        """Send packets from the start, numbered on from the last ones."""
        with self._start.entered():
            passage = self._ends.send(self._first, stream, arrival, packets, self._next)
        self._next += packets
        return passage

    def close(self) -> None:
        """Take the programs off; the links go with their namespaces."""
        for link in self._links:
            link.close()


@contextmanager
def built(ends: Ends, arms: int) -> Iterator[Road]:
    """Yield a road of three new namespaces, whose middle has one arm or two."""
    with ExitStack() as stack:
        road = Road(ends, arms, *(stack.enter_context(Namespace()) for _ in range(3)))
        stack.callback(road.close)
        yield road


def _join(middle: Namespace, name: str, mac: bytes, far: Namespace, far_mac: bytes) -> None:
    middle.run(
        f"ip link add {name} address {mac.hex(':')} mtu {MTU} type veth"
        f" peer name eth0 address {far_mac.hex(':')} mtu {MTU} netns {far.path}",
        f"ip link set {name} up",
        f"ethtool -K {name} {_OFFLOADS}",
    )
    far.run("ip link set eth0 up", f"ethtool -K eth0 {_OFFLOADS}")
