"""One ZooKeeper server asked by itself: does it serve, and as what (the four-letter word `srvr`)."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

PATIENCE_S = 1.0
NOT_SERVING = "not currently serving"
"""What a server says that has lost the rest of its ensemble."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`trouble` is empty when it serves. `mode`: leader, follower or standalone; empty if it does not say."""

    trouble: str
    mode: str = ""


async def ask_server(host: str, patience_s: float = PATIENCE_S) -> Answer:
    """Ask the server at "host:port"; never raises."""
    name, _, port = host.rpartition(":")
    try:
        async with asyncio.timeout(patience_s):
            text = await _srvr(name.strip("[]"), int(port))
    except TimeoutError:
        return Answer(f"no answer within {patience_s:g} s")
    except OSError as error:
        return Answer(os.strerror(error.errno) if error.errno and error.errno > 0 else str(error))
    if NOT_SERVING in text:
        return Answer("runs, but has no quorum: too few servers of its ensemble are up")
    modes = [line.removeprefix("Mode: ") for line in text.splitlines() if line.startswith("Mode: ")]
    return Answer("", modes[0] if modes else "")


async def _srvr(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"srvr")
        await writer.drain()
        return (await reader.read()).decode(errors="replace")
    finally:
        writer.close()
