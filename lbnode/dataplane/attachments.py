"""The program on its interfaces: native XDP where the driver has it, generic with the reason where not."""

from __future__ import annotations

import socket

from lbnode.dataplane.errors import AttachError, RightsError
from lbnode.dataplane.libbpf import Program, XdpLink, XdpMode, xdp_mode
from lbnode.dataplane.pins import Pins
from lbnode.dataplane.values import Attachment

MODES = ("auto", "native", "generic")
_ADOPTED = "it was attached so by an earlier daemon"


class Attachments:
    """Links by interface index. Each is pinned: traffic goes on without this process."""

    def __init__(self, pins: Pins, program: Program) -> None:
        self._pins = pins
        self._program = program
        self._links = pins.links()
        self._reasons: dict[int, str] = {}

    @property
    def exist(self) -> bool:
        """Whether a program hangs on any interface."""
        return bool(self._links)

    def refresh(self, has_same_maps: bool) -> list[int]:
        """Let every adopted link run this process's program; returns the interfaces where it was another one."""
        replaced = []
        for ifindex, link in self._links.items():
            if not has_same_maps or not self._is_ours(link):
                link.update(self._program)
                replaced.append(ifindex)
        return replaced

    def _is_ours(self, link: XdpLink) -> bool:
        """Whether the link runs our program: not known without CAP_SYS_ADMIN, and replacing it costs no packet."""
        try:
            return link.program_tag == self._program.tag
        except RightsError:
            return False

    def attach(self, name: str, mode: str, is_fixed: bool = False) -> Attachment:
        """Put the program on the interface `name`; "auto" tries native first. Attached already: stays as it is.

        With `is_fixed` even if another mode is asked for: no program may be taken off. Raises AttachError (no such
        interface, another program on it, native asked for and refused), RightsError.
        """
        if mode not in MODES:
            raise AttachError(f"attach xdp to {name}: mode {mode!r}: must be one of {', '.join(MODES)}")
        ifindex = interface_index(name)
        self._forget_gone()
        if ifindex in self._links and not is_fixed and not self._is_as(ifindex, mode):
            self.detach(ifindex)
        if ifindex not in self._links:
            self._attach(name, ifindex, mode)
        if mode == "generic":
            self._reasons[ifindex] = "asked for"
        return self._describe(ifindex)

    def _forget_gone(self) -> None:
        """An interface that was removed took its link with it, and its index may come again."""
        for ifindex in [number for number, link in self._links.items() if not link.ifindex]:
            self._links.pop(ifindex).close()
            self._forget(ifindex)

    def _is_as(self, ifindex: int, mode: str) -> bool:
        return mode == "auto" or self._mode(ifindex) is XdpMode[mode.upper()]

    def _mode(self, ifindex: int) -> XdpMode | None:
        return xdp_mode(ifindex)

    def _attach(self, name: str, ifindex: int, mode: str) -> None:
        first = XdpMode.GENERIC if mode == "generic" else XdpMode.NATIVE
        try:
            link = XdpLink.attach(self._program, ifindex, first)
        except AttachError as error:
            if mode != "auto":
                raise AttachError(f"attach xdp to {name}: {error}") from error
            link = self._fall_back(name, ifindex, error)
        link.pin(self._pins.link_path(ifindex))
        self._links[ifindex] = link

    def _fall_back(self, name: str, ifindex: int, refusal: AttachError) -> XdpLink:
        self._reasons[ifindex] = str(refusal)
        try:
            return XdpLink.attach(self._program, ifindex, XdpMode.GENERIC)
        except AttachError as error:
            raise AttachError(f"attach xdp to {name}: {error}") from error

    def _describe(self, ifindex: int) -> Attachment:
        if self._mode(ifindex) is XdpMode.NATIVE:
            return Attachment("native")
        return Attachment("generic", self._reasons.get(ifindex, _ADOPTED))

    def all(self) -> dict[int, Attachment]:
        """Return how the program hangs on each interface, by interface index."""
        return {ifindex: self._describe(ifindex) for ifindex in self._links}

    def detach(self, ifindex: int) -> None:
        """Take the program off an interface."""
        link = self._links.pop(ifindex)
        link.detach()
        link.close()
        self._forget(ifindex)

    def _forget(self, ifindex: int) -> None:
        self._pins.link_path(ifindex).unlink()
        self._reasons.pop(ifindex, None)

    def close(self) -> None:
        """Let go of the links; they stay attached."""
        for link in self._links.values():
            link.close()
        self._links.clear()


def interface_index(name: str) -> int:
    """Return the index of the interface in this network namespace; raises AttachError that names what there is."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        known = ", ".join(known_name for _index, known_name in socket.if_nameindex())
        raise AttachError(f"attach xdp to {name}: no such interface here: there are {known}") from error
