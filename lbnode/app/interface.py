"""The interface that traffic comes in by: the data plane takes only frames for its own Ethernet address."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lbnode.dataplane.node import NodeDataPlane
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.events import Event
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Netlink
from lbnode.netdev.seen import Seen
from lbnode.netdev.watcher import Group, Watcher

log = structlog.get_logger()


class Interface:
    """Keeps the data plane informed of an interface's address; `problem` says why it cannot.

    The kernel is asked again only after it has told of a change, or did not answer.
    """

    def __init__(self, netlink: Netlink, plane: NodeDataPlane, name: str) -> None:
        self._plane = plane
        self._name = name
        self._known: tuple[int, bytes] | None = None
        self._link = Seen(lambda: link_named(netlink, name))
        self.problem = ""

    def watch(self, on_change: Callable[[], None]) -> Watcher:
        """Listen to the kernel until the watcher is closed; `on_change`: time for a `refresh`."""

        def changed(_event: Event) -> None:
            self._link.forget()
            on_change()

        self._link.forget()
        return Watcher(changed, Group.LINK)

    async def refresh(self) -> None:
        """Look at the interface; tell the data plane if its address is another one."""
        try:
            link = await self._link.get()
        except NetdevError as error:
            self._complain(str(error))
            return
        self._complain("" if link.up else f"interface {self._name}: down; ip link set {self._name} up")
        if (link.index, link.mac) == self._known:
            return
        self._plane.set_interfaces({link.index: link.mac} if link.mac else {})
        if self._known is not None:
            log.info("interface address", interface=self._name, mac=link.mac.hex(":"))
        self._known = (link.index, link.mac)

    def _complain(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("interface", problem=problem)
        self.problem = problem
