"""The interface that traffic comes in by: the program hangs on it, and takes only frames for its Ethernet address.

One that goes down keeps its program. One that is removed takes it along, and gets it again when it is back.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.node import NodeDataPlane
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.events import Event
from lbnode.netdev.links import Link, link_named
from lbnode.netdev.netlink import Netlink
from lbnode.netdev.seen import Seen
from lbnode.netdev.watcher import Group, Watcher

log = structlog.get_logger()


class Interface:
    """Keeps the program on an interface, and the data plane informed of its address; `problem` says why it cannot.

    `xdp`: how the program hangs on it. The kernel is asked again only after it has told of a change, or did not answer.
    """

    def __init__(self, netlink: Netlink, plane: NodeDataPlane, name: str, mode: str) -> None:
        self._plane = plane
        self._name = name
        self._mode = mode
        self._known: tuple[int, bytes] | None = None
        self._is_attached = False
        self._link = Seen(lambda: link_named(netlink, name))
        self.problem = ""
        self.xdp = ""

    def watch(self, on_change: Callable[[], None]) -> Watcher:
        """Listen to the kernel until the watcher is closed; `on_change`: time for a `refresh`."""

        def changed(_event: Event) -> None:
            self.doubt()
            on_change()

        self._link.forget()
        return Watcher(changed, Group.LINK)

    async def start(self) -> None:
        """Put the program on the interface. Raises NetdevError and DataPlaneError."""
        self._use(await self._link.get())

    async def refresh(self) -> None:
        """Look at the interface; bring the data plane to what it is now."""
        try:
            link = await self._link.get()
            self._use(link)
        except (NetdevError, DataPlaneError) as error:
            self._is_attached = False
            self._complain(str(error))
            return
        self._complain("" if link.up else f"interface {self._name}: down; ip link set {self._name} up")

    def doubt(self) -> None:
        """The program may not hang on the interface as it should: the next `refresh` sees to it."""
        self._link.forget()
        self._is_attached = False

    def _use(self, link: Link) -> None:
        if not self._is_attached:
            self.xdp = str(self._plane.attach(self._name, self._mode))
            self._is_attached = True
        if (link.index, link.mac) != self._known:
            self._plane.set_interfaces({link.index: link.mac} if link.mac else {})
            log.info("interface", name=self._name, index=link.index, mac=link.mac.hex(":"), xdp=self.xdp)
            self._known = (link.index, link.mac)

    def _complain(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("interface", problem=problem)
        if self.problem and not problem:
            log.info("interface is up again", name=self._name, xdp=self.xdp)
        self.problem = problem
