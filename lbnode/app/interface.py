"""The interface that traffic comes in by: the data plane takes only frames for its own Ethernet address."""

from __future__ import annotations

import structlog

from lbnode.dataplane.node import NodeDataPlane
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Netlink

log = structlog.get_logger()


class Interface:
    """Keeps the data plane informed of an interface's address; `problem` says why it cannot."""

    def __init__(self, netlink: Netlink, plane: NodeDataPlane, name: str) -> None:
        self._netlink = netlink
        self._plane = plane
        self._name = name
        self._known: tuple[int, bytes] | None = None
        self.problem = ""

    async def refresh(self) -> None:
        """Look at the interface; tell the data plane if its address is another one."""
        try:
            link = await link_named(self._netlink, self._name)
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
