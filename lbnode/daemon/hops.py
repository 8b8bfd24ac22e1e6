"""Next hops towards the backends, from the kernel's routes and neighbours, kept fresh by its events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Set
from itertools import count
from typing import TypeVar

import structlog

from lbnode.daemon.waiting import wait_at_most
from lbnode.daemon.ways import Answer, LinkOf, NeighbourOf, Question, RouteOf, Ways
from lbnode.model.ids import IPAddress
from lbnode.model.nexthop import NextHop
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.events import Event
from lbnode.netdev.links import link_at
from lbnode.netdev.neighbours import confirm, read_neighbour
from lbnode.netdev.netlink import Netlink
from lbnode.netdev.next_hops import route_to
from lbnode.netdev.watcher import Watcher

log = structlog.get_logger()

T = TypeVar("T")

SETTLE_S = 1.0
"""How long the first look-up insists: a daemon that adopts a kernel full of hops must not replace them by nothing."""

TURN_S = 1.0
"""How often one way is asked for without an event, in turns: for what the kernel has told nobody."""


class NextHops:
    """The next hop of each followed address. A hop that was found is kept when a later look-up finds none."""

    def __init__(self, netlink: Netlink, on_change: Callable[[], None]) -> None:
        self._netlink = netlink
        self._on_change = on_change
        self._hops: dict[IPAddress, NextHop | None] = {}
        self._ways = Ways()
        self._asking = asyncio.Lock()
        self._due = asyncio.Event()
        self._problem = ""
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen to the kernel."""
        self._watcher = Watcher(self._hear)
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
        if wanted == self._hops.keys():
            return
        is_first = not self._hops
        self._hops = {address: self._hops.get(address) for address in wanted}
        self._ways.follow(wanted)
        await self._look_up()
        if is_first:
            await self._insist()

    async def _insist(self) -> None:
        """Give neighbours that were just asked for time to answer."""
        deadline = time.monotonic() + SETTLE_S
        while self.unresolved() and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_S / 50)
            await self._look_up()

    @property
    def followed(self) -> Set[IPAddress]:
        """The addresses that are followed."""
        return self._hops.keys()

    def get(self, address: IPAddress) -> NextHop | None:
        """Return the hop, or None while the address has never been resolved."""
        return self._hops.get(address)

    def unresolved(self) -> list[IPAddress]:
        """Return the followed addresses that nothing can be sent to."""
        return [address for address, hop in self._hops.items() if hop is None]

    def _hear(self, event: Event) -> None:
        if self._ways.hear(event):
            self._due.set()

    async def _run(self) -> None:
        for turn in count():
            await wait_at_most(self._due, TURN_S)
            if not self._due.is_set() and self._hops:
                self._ways.doubt(list(self._hops)[turn % len(self._hops)])
            self._due.clear()
            if await self._look_up():
                self._on_change()

    async def _look_up(self) -> bool:
        """Ask the kernel all that is open; say whether a hop changed."""
        async with self._asking:
            while questions := self._ways.questions():
                for question in questions:
                    self._ways.answer(question, await self._ask(question))
            for neighbour in self._ways.pushes():
                await self._tried(confirm(self._netlink, neighbour))
        return self._take()

    async def _ask(self, question: Question) -> Answer:
        match question:
            case RouteOf(address):
                return await self._tried(route_to(self._netlink, address))
            case LinkOf(ifindex):
                return await self._tried(link_at(self._netlink, ifindex))
            case NeighbourOf(ifindex, address):
                return await self._tried(read_neighbour(self._netlink, ifindex, address))

    async def _tried(self, asked: Awaitable[T]) -> T | None:
        """Return the kernel's answer; None when it refuses, and the reason is logged once."""
        try:
            return await asked
        except NetdevError as error:
            if str(error) != self._problem:
                log.warning("next hop", error=str(error))
            self._problem = str(error)
            return None

    def _take(self) -> bool:
        """Make use of what is known now; say whether a hop changed."""
        if not self._ways.moved:
            return False
        self._ways.moved = False
        found = {address: self._ways.hop(address) for address in self._hops}
        new = {address: hop for address, hop in found.items() if hop not in (None, self._hops[address])}
        if new:
            first = next(iter(new))
            log.info("next hops", changed=len(new), such_as=str(first), hop=str(new[first]))
        self._hops.update(new)
        return bool(new)
