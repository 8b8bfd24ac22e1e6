"""What this node tells the routers, joined to the BGP speaker that tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from bgp.errors import SpeakerError
from bgp.routes import GRACEFUL_SHUTDOWN, Route, RouteSet
from bgp.speaker import Speaker
from lbnode.core.announce import Announcement
from lbnode.model.vip import VipAddress, vip_address

log = structlog.get_logger()


class Announcer:
    """Hands each whole set to the speaker; a later one overtakes one that is still being acknowledged."""

    def __init__(self, speaker: Speaker | None) -> None:
        self._speaker = speaker
        self._wanted: RouteSet | None = None
        self._task: asyncio.Task[None] | None = None
        self._withheld: dict[VipAddress, str] = {}

    async def start(self) -> None:
        """Adopt or start the speaker. Without one (no `bgp` in the settings) nothing is ever announced."""
        if self._speaker is not None:
            await self._speaker.start()

    @property
    def announced(self) -> tuple[VipAddress, ...]:
        """The addresses and prefixes that the speaker has acknowledged."""
        if self._speaker is None:
            return ()
        return tuple(vip_address(route.prefix) for route in self._speaker.announced)

    def serves(self, loaded: bool) -> bool:
        """Whether clients are sent here: by an announcement, or by static routes where there is no speaker."""
        return bool(self.announced) if self._speaker is not None else loaded

    @property
    def withheld(self) -> dict[VipAddress, str]:
        """The addresses that are not announced, and why."""
        return self._withheld

    @property
    def routers(self) -> dict[str, str]:
        """Router's address → "up", or "down: why"."""
        return {} if self._speaker is None else dict(self._speaker.neighbors)

    def announce(self, announcement: Announcement) -> None:
        """Let routers know exactly this, soon."""
        communities = [GRACEFUL_SHUTDOWN] if announcement.graceful_shutdown else []
        routes = RouteSet.of(Route.to(address, communities) for address in announcement.addresses)
        self._tell(announcement.withheld)
        if routes != self._wanted:
            self._wanted = routes
            log.info("announce", routes=[str(route) for route in routes])
            if self._speaker is not None:
                self._task = asyncio.create_task(self._set(routes), name="routes")

    async def stop(self) -> None:
        """Withdraw everything and end the speaker."""
        await self._end_task()
        if self._speaker is not None:
            await self._speaker.stop()

    async def leave(self) -> None:
        """End this process's part and leave everything announced for the next daemon."""
        await self._end_task()
        if self._speaker is not None:
            await self._speaker.leave()

    async def _end_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _set(self, routes: RouteSet) -> None:
        assert self._speaker is not None
        try:
            await self._speaker.set_routes(routes)
        except SpeakerError as error:
            log.error("routes not announced", error=str(error))

    def _tell(self, withheld: Mapping[VipAddress, str]) -> None:
        for address, reason in withheld.items():
            if self._withheld.get(address) != reason:
                log.info("not announced", address=str(address), reason=reason)
        self._withheld = dict(withheld)
