"""The interface that traffic comes in by: the program hangs on it, and takes only frames for its Ethernet address.

One that goes down keeps its program. One that is removed takes it along, and gets it again when it is back. In between
no packet comes in, and the routers are to know.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.node import NodeDataPlane
from lbnode.netdev.errors import InterfaceMissingError, NetdevError
from lbnode.netdev.events import Event
from lbnode.netdev.links import Link, link_named
from lbnode.netdev.netlink import Netlink
from lbnode.netdev.seen import Seen
from lbnode.netdev.watcher import Group, Watcher

log = structlog.get_logger()


class Interface:
    """Keeps the program on an interface, and the data plane informed of its address; `problem` says why it cannot.

    `obstacle`: what keeps packets from coming in, as far as is known. `xdp`: how the program hangs on it. The kernel is
    asked again only after it has told of a change, or did not answer.
    """

    def __init__(self, netlink: Netlink, plane: NodeDataPlane, name: str, mode: str) -> None:
        self._plane = plane
        self._name = name
        self._mode = mode
        self._known: tuple[int, bytes] | None = None
        self._is_attached = False
        self._link = Seen(lambda: link_named(netlink, name))
        self.problem = ""
        self.obstacle = ""
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
            self._complain(str(error), self._why_not(error))
        else:
            self._complain(*_judge(link))

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

    def _why_not(self, error: NetdevError | DataPlaneError) -> str:
        """Return what an error means for packets; one that tells nothing of the interface changes nothing."""
        if isinstance(error, InterfaceMissingError):
            return f"its interface {self._name} is gone"
        if isinstance(error, DataPlaneError):
            return f"the program is not on its interface {self._name}"
        return self.obstacle

    def _complain(self, problem: str, obstacle: str) -> None:
        self.obstacle = obstacle
        if problem and problem != self.problem:
            log.error("interface", problem=problem)
        if self.problem and not problem:
            log.info("interface is up again", name=self._name, xdp=self.xdp)
        self.problem = problem


def _judge(link: Link) -> tuple[str, str]:
    """Return what is wrong with an interface, with the remedy, and what it keeps from coming in; empty: nothing."""
    name = link.name
    if not link.up:
        return f"interface {name}: down; ip link set {name} up", f"its interface {name} is down"
    if not link.running:
        problem = f"interface {name}: no carrier; look at its cable and at the port it leads to"
        return problem, f"its interface {name} has no carrier"
    return "", ""
