"""What a status says of who is in reach of the fleet's memory, held against what the drill did. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lbnode.model.epoch import BackendState
from lbnode.model.members import View
from lbnode.model.status import AgentState, FleetStatus


def untruths(status: FleetStatus, cut_off: Collection[str]) -> Iterator[str]:
    """Yield what a node's status claims although the hosts `cut_off` have no way to the store."""
    who = status.answered_by
    if who in cut_off:
        if status.view is not View.LOCAL:
            yield f"{who} says that it has the fleet's view"
        if status.agree:
            yield f"{who} says that all nodes agree"
        return
    for node in status.nodes:
        if node.name in cut_off and node.connected:
            yield f"{who} says that node {node.name} is connected"
    for pool in status.pools:
        for slot in pool.slots:
            if slot.backend in cut_off and slot.agent is AgentState.CONNECTED:
                yield f"{who} says that the agent of {slot.backend} is connected"


def dissent(status: FleetStatus, nodes: Collection[str]) -> Iterator[str]:
    """Yield what of a status speaks against a fleet of `nodes` that is whole and of one mind."""
    who = status.answered_by
    if status.view is not View.FLEET:
        yield f"{who} goes by its local view"
    if not status.agree:
        yield f"{who} says that not all agree"
    connected = {node.name for node in status.nodes if node.connected}
    for name in sorted(set(nodes) - connected):
        yield f"{who} says that node {name} is not connected"
    for pool in status.pools:
        for slot in pool.slots:
            if slot.backend is not None and slot.agent is AgentState.SILENT:
                yield f"{who} says that the agent of {slot.backend} is not connected"


def state_of(status: FleetStatus, backend: str) -> BackendState | None:
    """Return the state of a backend in the only pool of a lab, as a node sees it."""
    slots = (slot for pool in status.pools for slot in pool.slots)
    return next((slot.state for slot in slots if slot.backend == backend), None)
