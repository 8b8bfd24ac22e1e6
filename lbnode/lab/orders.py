"""The far side of `lbnode.lab.obedient`: a process that obeys lines of JSON on its standard input, one by one."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from lbnode.lab.errors import LabError

LONGEST_LINE = 1 << 22


async def obey_orders(obey: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Let `obey` answer every order until the input ends; its LabErrors are answers, too."""
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            answer = await obey(json.loads(line))
        except LabError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


def allow_many_files() -> None:
    """Let this process have as many sockets as the machine allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
