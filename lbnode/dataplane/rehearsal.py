"""What the program that runs on an interface now does with a packet, without sending it: BPF_PROG_TEST_RUN.

It is the running program with its own tables. Its counters count such packets too.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from lbnode.dataplane.errors import PinError
from lbnode.dataplane.libbpf import Program, XdpLink
from lbnode.dataplane.pins import Pins
from lbnode.model.ids import IPAddress

MAC = 6
ETHERNET = 2 * MAC + 2
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
XDP_TX, XDP_REDIRECT = 3, 4


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A frame as the program would send it, Ethernet header included, and the outer header's destination."""

    frame: bytes
    to: IPAddress


class Rehearsal:
    """The program on one interface; a context manager."""

    def __init__(self, program: Program, mac: bytes) -> None:
        self._program = program
        self._mac = mac

    @classmethod
    def open(cls, directory: Path, ifindex: int, mac: bytes) -> Self:
        """Open what the instance pinned in `directory` runs on the interface, whose Ethernet address is `mac`.

        Raises PinError, RightsError.
        """
        path = Pins(directory).link_path(ifindex)
        if not path.exists():
            raise PinError(
                f"rehearse {path}: no program of this node is on the interface: is lbnode running?"
            )
        with contextlib.closing(XdpLink.open_pinned(path)) as link:
            return cls(link.running(), mac)

    def send(self, packet: bytes) -> Forwarded | None:
        """Return what would be sent for `packet`, from the IP header on; None when nothing would."""
        frame = self._mac + bytes(MAC) + ETHERTYPES[packet[0] >> 4] + packet
        done = self._program.test_run(frame)
        if done.retval not in (XDP_TX, XDP_REDIRECT):
            return None
        outer = done.data[ETHERNET:]
        to = outer[16:20] if outer[0] >> 4 == 4 else outer[24:40]
        return Forwarded(done.data, ip_address(to))

    def close(self) -> None:
        """Let go; the program runs on."""
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
