"""Packets for a VIP from the far end of a node's cable, as fast as the wire takes them, each of them counted."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from hatch_build import build_bpf
from lbnode.dataplane.libbpf import TEST_XDP_LIVE_FRAMES, BpfObject, Program, XdpLink, XdpMode
from tests.integration.cable import Cable, enter, eventually, inside, ip_json

_FOLDER = Path(__file__).resolve().parent
_OBJECT = _FOLDER / "build" / "traffic.bpf.o"
_BURST, _LONG_BURST = 1 << 14, 1 << 18
"""Frames a call; each has some 28 ms to be prepared in."""
_BATCH = 64
"""Frames before the kernel delivers them; a veth's ring holds 256."""
_CONTEXT = np.dtype(
    [(name, "<u4") for name in ("data", "data_end", "data_meta", "ifindex", "queue", "egress")]
)


@dataclass(frozen=True, slots=True)
class Tally:
    """Packets: `sent` onto the wire, `received` in the node's tunnels."""

    sent: int
    received: int

    def __sub__(self, before: Tally) -> Tally:
        return Tally(self.sent - before.sent, self.received - before.received)

    def __add__(self, more: Tally) -> Tally:
        return Tally(self.sent + more.sent, self.received + more.received)

    @property
    def lost(self) -> int:
        return self.sent - self.received


class Traffic:
    """The stream to one VIP; it flows inside `flowing` alone. `rate`: packets a second, 0 for all that is possible."""

    def __init__(self, cable: Cable, vip: IPv4Address, node: IPv4Address, rate: int = 0) -> None:
        self._cable = cable
        self._burst, self._pause_s = (_BURST, _BURST / rate) if rate else (_LONG_BURST, 0.0)
        ethernet = Ether(dst=_mac(cable.near), src=_mac(cable.far))
        self._frame = bytes(ethernet / IP(src="198.51.0.0", dst=str(vip)) / TCP(dport=80, flags="A"))
        with redirect_stdout(sys.stderr):
            build_bpf(_FOLDER)
        with BpfObject.open(_OBJECT) as each:
            each.set_constant("ethernet", self._frame[:14])
            each.set_constant("node", node.packed)
            each.load()
            self._send, self._receive = each.program("send"), each.program("receive")
            tallies = each.map("tallies")
            self._tally: Any = np.frombuffer(tallies.mmap(), dtype=each.btf.dtype("tally"), count=1)[0]
            tallies.close()
        self._link = inside(cable.far, lambda: _attached(self._receive))

    def tally(self) -> Tally:
        """Return the packets so far. What never got onto the wire, because a ring was full, was not sent."""
        received = int(self._tally["received"])
        return Tally(int(self._tally["sent"]) - self._refused(), received)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send until the end of the block; packets are then given time to arrive."""
        ending = threading.Event()
        failures: list[BaseException] = []

        def send() -> None:
            try:
                enter(self._cable.far)
                while not ending.wait(self._pause_s):
                    self._send_burst()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()
        assert not failures, failures
        self._settle()

    def _send_burst(self) -> None:
        context = np.zeros(1, _CONTEXT)
        context["data_end"], context["ifindex"] = len(self._frame), socket.if_nametoindex("eth0")
        self._send.test_run(
            self._frame, self._burst, context=context.tobytes(), flags=TEST_XDP_LIVE_FRAMES, batch_size=_BATCH
        )

    def _settle(self) -> None:
        """Return when two looks see the same, and nothing is under way."""
        seen: list[Tally] = []

        def is_still() -> bool:
            seen.append(self.tally())
            return seen[-1].lost == 0 or (len(seen) > 50 and seen[-1] == seen[-50])

        eventually("all packets have arrived, or are lost", is_still)

    def _refused(self) -> int:
        command = ["nsenter", f"--net=/run/netns/{self._cable.far}", "ethtool", "-S", "eth0"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return sum(int(line.split(":")[1]) for line in lines if "xdp_xmit_errors" in line)

    def close(self) -> None:
        """Leave the wire as it was."""
        self._link.close()
        for program in (self._send, self._receive):
            program.close()


def _attached(program: Program) -> XdpLink:
    return XdpLink.attach(program, socket.if_nametoindex("eth0"), XdpMode.NATIVE)


def _mac(namespace: str) -> str:
    return str(ip_json("-n", namespace, "link", "show", "eth0")[0]["address"])
