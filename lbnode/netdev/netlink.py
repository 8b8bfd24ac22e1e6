"""One rtnetlink session: the door through which pyroute2 comes in and where its errors stop."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterable, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from lbnode.netdev.errors import NetdevError

DUMP_ATTEMPTS = 5

Message = Any
"""A parsed netlink message of pyroute2: fields by `[...]`, attributes by `.get(...)`."""


class Netlink:
    """A session in the network namespace of the thread that opens it; use as an async context manager."""

    def __init__(self) -> None:
        self._route: Any = AsyncIPRoute()

    async def __aenter__(self) -> Self:
        await self._route.setup_endpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session; the loop gets a turn to let its transport go."""
        self._route.close()
        await asyncio.sleep(0)

    async def request(self, what: str, method: str, *words: Any, **spec: Any) -> list[Message]:
        """Run one request (`method` of pyroute2's API) and return the kernel's answers.

        Raises NetdevError "`what`: reason" with the kernel's errno in `.__cause__.code`.
        """
        try:
            return list(await getattr(self._route, method)(*words, **spec))
        except NetlinkError as error:
            raise translate(what, error) from error

    async def namespace_number(self, descriptor: int) -> int | None:
        """Return the number by which this namespace knows the open one, None when it does not (or may not ask)."""
        try:
            answer = await self._route.get_netnsid(fd=descriptor)
        except NetlinkError:
            return None
        return answer["nsid"] if answer else None

    async def dump(self, what: str, method: str, *words: Any, **spec: Any) -> list[Message]:
        """Return every object of a table, asked anew when the table changed half-way."""
        for _ in range(DUMP_ATTEMPTS):
            try:
                return await _collect(lambda: getattr(self._route, method)(*words, **spec))
            except NetlinkDumpInterrupted:
                continue
            except NetlinkError as error:
                raise translate(what, error) from error
        raise NetdevError(f"{what}: the kernel's table kept changing while it was read; try again")


async def _collect(start: Callable[[], Awaitable[AsyncIterable[Message]]]) -> list[Message]:
    return [message async for message in await start()]


def translate(what: str, error: NetlinkError) -> NetdevError:
    """Return the NetdevError for a kernel's refusal, with the remedy where there is one."""
    code = int(error.code)
    reason = os.strerror(code)
    if code in (errno.EPERM, errno.EACCES):
        reason += "; run as root or with CAP_NET_ADMIN"
    return NetdevError(f"{what}: {reason}")


def error_code(error: NetdevError) -> int | None:
    """The kernel's errno behind a NetdevError, or None when it did not come from netlink."""
    cause = error.__cause__
    return int(cause.code) if isinstance(cause, NetlinkError) else None
