"""What a daemon says of itself: a node's is asked at its own socket; else it is what the daemon told the fleet last.

The socket, because what a node says of its routers has to be known when the fleet's memory is out of reach, too.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from lbnode.daemon.lock import running_pid
from lbnode.doctor.facts import DaemonWords
from lbnode.model.members import AgentLive, NodeLive, View
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError
from lbnode.rpc.listen import UNIX
from lbnode.settings.node import NodeSettings

ANSWER_S = 2.0


def told(live: NodeLive | AgentLive | None) -> DaemonWords:
    """Return what a daemon told the fleet, None: nothing, or it is not connected."""
    if live is None:
        return DaemonWords(connected=False)
    routers = live.routers if isinstance(live, NodeLive) else {}
    return DaemonWords(True, live.alarms, routers, live.xdp)


async def said(settings: NodeSettings, daemon: str, live: NodeLive | None) -> DaemonWords:
    """Ask the daemon that runs by `settings`; where none can be asked, return what it told the fleet."""
    address = _socket(settings)
    if address is None or running_pid(settings.run_dir, daemon) is None:
        return told(live)
    try:
        return await asyncio.to_thread(_ask, address, settings.name)
    except RpcError as error:
        return replace(told(live), silent=str(error))


def _socket(settings: NodeSettings) -> str | None:
    """The daemon's own socket, if this user may open it."""
    sockets = (each for each in settings.rpc.listen if each.startswith(UNIX))
    return next((each for each in sockets if os.access(each.removeprefix(UNIX), os.W_OK)), None)


def _ask(address: str, name: str) -> DaemonWords:
    with FleetClient(address, ANSWER_S) as client:
        status = client.status()
    (own,) = (node for node in status.nodes if node.name == name)
    return DaemonWords(status.view is View.FLEET, own.alarms, own.routers, own.xdp)
