"""What can happen to the nodes of a fleet while flows run: one class an event.

An event acts, is *done* once the fleet or its router has visibly taken note of it, and is undone after the
drill.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod

from lbnode.lab import assembly, network
from lbnode.lab.errors import LabError
from lbnode.lab.plan import Host
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.ids import NodeName
from lbnode.model.requests import DrainNode, UndrainNode
from lbnode.rpc.errors import RpcError

STALL_S = 1.0
"""The longest stall that counts as whole."""
CUT_STALL_S = 8.0
"""When a node dies without a word: BGP's hold time of 3 s and one doubling of the retransmission timer."""
UNDO_S = 20.0


class Event(ABC):
    """One thing that happens. `what` names it in reports, `story` tells a newcomer what is going on."""

    what: str
    story: str
    limit_s: float = STALL_S
    """Stalls up to this many seconds are no break."""
    within_s: float = 20.0
    """By when it must be done."""

    @abstractmethod
    def act(self, lab: RunningLab) -> None:
        """Make it happen."""

    @abstractmethod
    def done(self, lab: RunningLab) -> bool:
        """True once it has taken effect."""

    def undo(self, lab: RunningLab) -> None:  # noqa: B027 - most events have nothing to undo
        """Leave the lab as it was, as far as that is possible."""


class AddNode(Event):
    """One more node joins; the router spreads flows over it too."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.what = f"add node {name}"
        self.story = f"{name} joins: the router sends it a share of all flows, also of running ones"

    def act(self, lab: RunningLab) -> None:
        lab.record = assembly.add_node(lab.record)

    def done(self, lab: RunningLab) -> bool:
        return self._name in lab.next_hops()


class DrainOne(Event):
    """A node is taken out in good order."""

    def __init__(self, node: Host, through: Host) -> None:
        self._node, self._through = node, through
        self.what = f"drain node {node.name}"
        self.story = f"{node.name} withdraws its routes and stays: its flows move to the others"

    def act(self, lab: RunningLab) -> None:
        try:
            with lab.client(self._through.name) as client:
                client.drain_node(DrainNode(NodeName(self._node.name)))
        except RpcError as error:
            raise LabError(f"{self.what}: {error}") from error

    def done(self, lab: RunningLab) -> bool:
        return self._node.name not in lab.next_hops()

    def undo(self, lab: RunningLab) -> None:
        wait_until(lambda: self._undrain(lab), UNDO_S, f"undrain node {self._node.name}")

    def _undrain(self, lab: RunningLab) -> bool:
        """Try once: right after an outage the node that is asked may not have found the store again."""
        try:
            with lab.client(self._through.name) as client:
                client.undrain_node(UndrainNode(NodeName(self._node.name)))
        except RpcError:
            return False
        return True


class KillDaemon(Event):
    """A node's daemon gets SIGKILL and is started again; its data plane never stops."""

    def __init__(self, node: Host) -> None:
        self._node = node
        self.what = f"kill daemon of {node.name}"
        self.story = f"lbnode on {node.name} gets SIGKILL; the kernel goes on, a new daemon takes over"

    def act(self, lab: RunningLab) -> None:
        lab.record = assembly.restart_node(lab.record, self._node)

    def done(self, lab: RunningLab) -> bool:
        try:
            with lab.client(self._node.name) as client:
                nodes = {node.name: node for node in client.status().nodes}
        except RpcError:
            return False
        status = nodes.get(NodeName(self._node.name))
        return bool(status and status.announced) and self._node.name in lab.next_hops()


class StopExabgp(Event):
    """A node's ExaBGP dies; the daemon starts another."""

    def __init__(self, node: Host) -> None:
        self._node = node
        self._left = False
        self._killed: set[int] = set()
        self.what = f"stop ExaBGP of {node.name}"
        self.story = f"the router loses its session with {node.name}; lbnode starts a new one"

    def act(self, lab: RunningLab) -> None:
        self._killed = set(lab.exabgp(self._node))
        if not self._killed:
            raise LabError(f"{self.what}: it does not run: see {lab.directory(self._node.name)}/daemon.log")
        for pid in self._killed:
            os.kill(pid, signal.SIGKILL)

    def done(self, lab: RunningLab) -> bool:
        present = self._node.name in lab.next_hops()
        self._left = self._left or not present
        return self._left and present and not self._killed & set(lab.exabgp(self._node))


class CutLinks(Event):
    """A node's cable is pulled in the middle: nobody sees a carrier change, as when a machine dies."""

    limit_s = CUT_STALL_S

    def __init__(self, node: Host) -> None:
        self._node = node
        self.what = f"cut links of {node.name}"
        self.story = f"{node.name} goes silent; the router notices when BGP's hold time (3 s) runs out"

    def act(self, lab: RunningLab) -> None:
        network.unplug(lab.plan, self._node)

    def done(self, lab: RunningLab) -> bool:
        return self._node.name not in lab.next_hops()

    def undo(self, lab: RunningLab) -> None:
        network.plug(lab.plan, self._node)


def node_events(lab: RunningLab) -> list[Event]:
    """The events of the nodes drill, in order. Raises LabError for a lab with a single node."""
    nodes = lab.nodes
    if len(nodes) < 2:
        raise LabError(f"drill nodes: lab {lab.plan.lab} has one node: it needs two: lbctl lab up --nodes 2")
    first, second, last = nodes[0], nodes[1], nodes[-1]
    return [
        AddNode(f"n{len(nodes) + 1}"),
        DrainOne(first, through=last),
        KillDaemon(second),
        StopExabgp(last),
        CutLinks(second),
    ]
