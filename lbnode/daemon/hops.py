"""Next hops towards the backends, from the kernel's routes and neighbours, kept fresh by its events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from lbnode.daemon.waiting import wait_at_most
from lbnode.model.ids import IPAddress
from lbnode.model.nexthop import NextHop
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.netlink import Netlink
from lbnode.netdev.next_hops import resolve
from lbnode.netdev.watcher import Watcher

log = structlog.get_logger()

SETTLE_S = 1.0
"""How long the first look-up insists: a daemon that adopts a kernel full of hops must not replace them by nothing."""

REFRESH_S = 10.0
"""How often every next hop is looked up without an event: it keeps neighbours alive that only XDP talks to."""

UNRESOLVED_S = 0.2
"""How soon an address without a next hop is looked up again."""


class NextHops:
    """The next hop of each followed address. A hop that was found is kept when a later look-up finds none."""

    def __init__(self, netlink: Netlink, on_change: Callable[[], None]) -> None:
        self._netlink = netlink
        self._on_change = on_change
        self._hops: dict[IPAddress, NextHop | None] = {}
        self._due = asyncio.Event()
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look up and to listen to the kernel."""
        self._watcher = Watcher(lambda _event: self._due.set())
        self._task = asyncio.create_task(self._run(), name="next hops")

    async def close(self) -> None:
        """Stop listening."""
        if self._watcher is not None:
            self._watcher.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def follow(self, addresses: Iterable[IPAddress]) -> None:
        """Follow exactly these; new ones are looked up before this returns."""
        wanted = set(addresses)
        for address in set(self._hops) - wanted:
            del self._hops[address]
        new = wanted - set(self._hops)
        is_first = not self._hops
        self._hops.update(dict.fromkeys(new))
        await self._look_up(new)
        if is_first:
            await self._insist()

    async def _insist(self) -> None:
        """Give neighbours that were just asked for time to answer."""
        deadline = time.monotonic() + SETTLE_S
        while self.unresolved() and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_S / 50)
            await self._look_up(self.unresolved())

    def get(self, address: IPAddress) -> NextHop | None:
        """Return the hop, or None while the address has never been resolved."""
        return self._hops.get(address)

    def unresolved(self) -> list[IPAddress]:
        """Return the followed addresses that nothing can be sent to."""
        return [address for address, hop in self._hops.items() if hop is None]

    async def _run(self) -> None:
        while True:
            timeout = UNRESOLVED_S if self.unresolved() else REFRESH_S
            await wait_at_most(self._due, timeout)
            self._due.clear()
            if await self._look_up(list(self._hops)):
                self._on_change()

    async def _look_up(self, addresses: Iterable[IPAddress]) -> bool:
        """Look addresses up; say whether a hop changed."""
        changed = False
        for address in addresses:
            try:
                hop = await resolve(self._netlink, address)
            except NetdevError as error:
                log.warning("next hop", address=str(address), error=str(error))
                continue
            if hop is not None and address in self._hops and hop != self._hops[address]:
                log.info("next hop", address=str(address), hop=str(hop))
                self._hops[address] = hop
                changed = True
        return changed
