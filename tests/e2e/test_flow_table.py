"""The flow table on real traffic: UDP, and TCP to backends without the agent, keep their backend over planned changes.

What is not promised (docs/affinity.md) is not tested here: flows that move to another node while their bucket is in
change, UDP flows that were silent while the change was on offer, and all of these once the window has closed.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from lbnode.dataplane.inspection import Inspection
from lbnode.lab import assembly, configs, teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.plan import POOL, UDP_PORT, VIP, Plan, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.requests import AddBackend, DrainBackend, DrainNode
from tests.e2e.chat import PATIENCE_S, SOON_S, Flow, TcpFlow, chatting
from tests.e2e.conftest import free_name

FLOWS = 120
RESEND_S = 1.0


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    """Two nodes and four backends, two of them without agent, behind a pool with a flow table."""
    name = free_name("table")
    try:
        plan = Plan(
            name, nodes=2, backends=4, without_agent=2, pool_settings={"flow_table": True, "udp_idle_s": 2.0}
        )
        yield RunningLab(bring_up(plan, print))
    finally:
        teardown.take_down(name)


class UdpFlow:
    """Datagrams from one port."""

    def __init__(self, number: int) -> None:
        self._asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(RESEND_S)
        self._socket.connect((str(VIP), UDP_PORT))

    def __str__(self) -> str:
        return "UDP flow"

    def ask(self) -> str:
        """Return the name of the server that answers; a datagram may be lost while a node comes or goes."""
        self._asked += 1
        word = b"%d" % self._asked
        for _ in range(int(PATIENCE_S / RESEND_S)):
            self._socket.send(word)
            try:
                while True:
                    name, _, said = self._socket.recv(100).partition(b":")
                    if said == word:
                        return name.decode()
            except TimeoutError:
                continue
        raise TimeoutError("no answer")

    def close(self) -> None:
        self._socket.close()


def flows() -> list[Flow]:
    """Open all flows, in the client's namespace."""
    return [kind(number) for kind in (TcpFlow, UdpFlow) for number in range(FLOWS)]


def owners(lab: RunningLab) -> set[str]:
    """Who gets new flows by the table in use, which all nodes have; nobody while a change is under way."""
    with lab.client("n2") as client:
        status = client.status()
    (pool,) = status.pools
    if not status.agree or pool.offered is not None:
        return set()
    return {slot.backend or "" for slot in pool.slots if slot.state is BackendState.ACTIVE}


def kept(lab: RunningLab) -> int:
    """Packets that nodes sent to an earlier owner because a flow's record said so."""
    nodes = [Inspection.open(configs.run_dir(lab.directory(node.name)) / "bpf") for node in lab.nodes]
    return sum(node.counters()["flow_kept"].packets for node in nodes)


@pytest.mark.timeout(180)
def test_udp_flows_and_flows_of_backends_without_agent_keep_their_backend(lab: RunningLab) -> None:
    """The addition is forced: those who owned buckets before all agents were up cannot tell that they hold no flow."""
    with chatting(lab, flows) as chat:
        assert set(chat.homes) == {"b1", "b2", "b3", "b4"}

        lab.record = assembly.add_node(lab.record)
        wait_until(lambda: "n3" in lab.next_hops(), SOON_S, "n3 to be announced")
        chat.go_on()
        with lab.client("n2") as client:
            client.drain_node(DrainNode(NodeName("n3")))
        wait_until(lambda: "n3" not in lab.next_hops(), SOON_S, "n3 to be withdrawn")
        chat.go_on()
        assert (chat.moves, kept(lab)) == ([], 0), "nodes came and went"

        with lab.client("n2") as client:
            client.drain_backend(DrainBackend(BackendName("b1"), PoolName(POOL)))
        wait_until(lambda: owners(lab) == {"b2", "b3", "b4"}, SOON_S, "b1 to get no new flows")
        chat.go_on()
        assert chat.moves == [], "b1 was drained"
        assert kept(lab) > Counter(chat.homes)["b1"] > 20

        lab.record = assembly.add_backend(lab.record)
        newcomer = lab.plan.of(Role.BACKEND)[-1]
        add_at_once = AddBackend(BackendName(newcomer.name), PoolName(POOL), (newcomer.address,), force=True)
        with lab.client("n2") as client:
            client.add_backend(add_at_once)
        wait_until(lambda: newcomer.name in owners(lab), SOON_S, f"{newcomer.name} to get new flows")
        chat.go_on()
        assert chat.moves == [], f"{newcomer.name} was added"
