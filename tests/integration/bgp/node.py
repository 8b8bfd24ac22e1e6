"""A node's daemon reduced to its speaker, for the tests to start, command and kill.

Commands come on standard input and are answered on standard output, one JSON object a line; every change of
what is known is written there too. The first argument holds run_dir, adopt_s and the speaker's settings as
JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from bgp.config import Neighbor, SpeakerSettings
from bgp.routes import Community, Route
from bgp.speaker import Speaker


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def settings(fields: dict[str, Any]) -> SpeakerSettings:
    neighbors = [
        Neighbor(
            address=ip_address(each["address"]),
            peer_as=each["peer_as"],
            local_address=ip_address(each["local_address"]),
            next_hop=ip_address(each["next_hop"]) if "next_hop" in each else None,
            md5_password_file=Path(each["md5_password_file"]) if "md5_password_file" in each else None,
            ttl_hops=each.get("ttl_hops"),
        )
        for each in fields["neighbors"]
    ]
    return SpeakerSettings(IPv4Address(fields["router_id"]), fields["local_as"], tuple(neighbors))


def routes(fields: dict[str, list[str]]) -> list[Route]:
    return [
        Route(ip_network(prefix), frozenset(map(Community.parse, tags))) for prefix, tags in fields.items()
    ]


async def commands() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield json.loads(line)


async def main(arguments: dict[str, Any]) -> None:
    def report() -> None:
        announced = {str(route.prefix): sorted(map(str, route.communities)) for route in speaker.announced}
        say(pid=speaker.exabgp_pid, announced=announced, neighbors=dict(speaker.neighbors))

    speaker = Speaker(
        settings(arguments["settings"]),
        Path(arguments["run_dir"]),
        adopt_s=arguments["adopt_s"],
        on_change=report,
    )
    await speaker.start()
    report()
    async for command in commands():
        match command:
            case {"routes": wanted}:
                await speaker.set_routes(routes(wanted))
                say(done="routes", refused=dict(speaker.refused))
            case {"end": "stop"}:
                await speaker.stop()
                say(done="stop")
            case {"end": "leave"}:
                await speaker.leave()
                say(done="leave")


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    asyncio.run(main(json.loads(sys.argv[1])))
