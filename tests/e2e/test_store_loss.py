"""Static stability: losing ZooKeeper changes nothing in forwarding, and everything agrees again after its return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from lbnode.lab import assembly, processes, services, teardown
from lbnode.lab.assembly import bring_up, server_of
from lbnode.lab.plan import VIP, Host, Plan, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.epoch import BackendState
from lbnode.model.members import View
from lbnode.model.status import AgentState, FleetStatus
from lbnode.rpc.errors import RpcError
from tests.e2e.conftest import free_name, lbctl, on

REQUESTS = 30
SOON_S = 20.0


@pytest.fixture
def fleet() -> Iterator[RunningLab]:
    """A lab of its own: two nodes, three backends, ZooKeeper."""
    name = free_name("loss")
    try:
        yield RunningLab(bring_up(Plan(name, nodes=2, backends=3), print))
    finally:
        teardown.take_down(name)


def status(lab: RunningLab, node: str = "n1") -> FleetStatus:
    with lab.client(node) as client:
        return client.status()


def holds(lab: RunningLab, node: str, fact: Callable[[FleetStatus], bool]) -> Callable[[], bool]:
    """Whether a node answers and its status has the fact."""

    def look() -> bool:
        try:
            return fact(status(lab, node))
        except RpcError:
            return False

    return look


def answers(lab: RunningLab, count: int = REQUESTS) -> Counter[str]:
    """Who answered so many requests, each a connection of its own; a request that failed counts as ''."""
    found: Counter[str] = Counter()
    for _ in range(count):
        found[on(lab, "client", "curl", "-sS", "-m", "2", f"http://{VIP}/").stdout.strip()] += 1
    return found


def zookeeper(lab: RunningLab) -> Host:
    (host,) = lab.plan.of(Role.STORE)
    return host


def stop_store(lab: RunningLab) -> None:
    processes.kill(lab.record.processes[zookeeper(lab).name])


def start_store(lab: RunningLab) -> None:
    services.await_zookeeper(zookeeper(lab), services.start_zookeeper(lab.plan, zookeeper(lab)))


def is_local(found: FleetStatus) -> bool:
    return found.view is View.LOCAL and any(node.state == View.LOCAL.value for node in found.nodes)


def agrees(found: FleetStatus) -> bool:
    return found.view is View.FLEET and found.agree and all(node.connected for node in found.nodes)


def states(found: FleetStatus) -> dict[str, BackendState]:
    return {slot.backend: slot.state for slot in found.pools[0].slots if slot.backend is not None}


@pytest.mark.timeout(180)
def test_traffic_goes_on_without_the_store_through_restarts_and_failures_and_all_agrees_afterwards(
    fleet: RunningLab,
) -> None:
    stop_store(fleet)
    assert "" not in answers(fleet)
    for node in ("n1", "n2"):
        wait_until(holds(fleet, node, is_local), SOON_S, f"{node} to say that its view is local")

    fleet.record = assembly.restart_node(fleet.record, fleet.nodes[0])
    wait_until(holds(fleet, "n1", is_local), SOON_S, "n1 to start from its copy on disk")
    assert fleet.next_hops() == {"n1", "n2"}
    assert "" not in answers(fleet)

    processes.kill(fleet.record.processes[server_of(fleet.plan.of(Role.BACKEND)[2])])
    wait_until(
        lambda: set(answers(fleet)) == {"b1", "b2"}, SOON_S, "nodes to leave b3 out by their own verdicts"
    )

    refused = lbctl("--node", rpc(fleet, "n2"), "backend", "drain", "b1")
    assert refused.returncode != 0
    assert "store" in refused.stderr

    start_store(fleet)
    for node in ("n1", "n2"):
        wait_until(holds(fleet, node, agrees), SOON_S, f"{node} to agree with the fleet again")
    wait_until(
        holds(fleet, "n2", lambda found: states(found)["b3"] is BackendState.FAILED),
        SOON_S,
        "b3 to be failed by an epoch",
    )
    assert set(answers(fleet)) == {"b1", "b2"}


@pytest.mark.timeout(180)
def test_an_address_whose_backends_have_all_failed_is_withdrawn_and_comes_back_with_them(
    fleet: RunningLab,
) -> None:
    backends = fleet.plan.of(Role.BACKEND)
    for backend in backends:
        processes.kill(fleet.record.processes[server_of(backend)])
    wait_until(lambda: fleet.next_hops() == set(), SOON_S, "the address to be withdrawn")
    assert any("not announced" in alarm for alarm in next(iter(status(fleet).nodes)).alarms)

    for backend in backends[:2]:
        services.start_server(fleet.plan, backend)
    wait_until(lambda: fleet.next_hops() == {"n1", "n2"}, SOON_S, "the address to be announced again")
    wait_until(lambda: set(answers(fleet)) == {"b1", "b2"}, SOON_S, "both backends to serve")


@pytest.mark.timeout(180)
def test_operators_change_the_backends_and_the_fleet_follows(fleet: RunningLab) -> None:
    node = rpc(fleet, "n2")
    assert lbctl("--node", node, "backend", "drain", "b1").returncode == 0
    wait_until(lambda: set(answers(fleet)) == {"b2", "b3"}, SOON_S, "b1 to get no new connections")
    assert lbctl("--node", node, "backend", "remove", "b1").returncode == 0
    wait_until(holds(fleet, "n1", lambda found: "b1" not in states(found)), SOON_S, "b1 to leave the pool")
    address = fleet.plan.of(Role.BACKEND)[0].address
    added = lbctl("--node", node, "backend", "add", "b1", str(address), "--pool", "web")
    assert added.returncode == 0, added.stderr
    wait_until(lambda: set(answers(fleet)) == {"b1", "b2", "b3"}, SOON_S, "b1 to serve again")
    (slot,) = [slot for slot in status(fleet).pools[0].slots if slot.backend == "b1"]
    assert (slot.number, slot.agent) == (0, AgentState.CONNECTED)


def rpc(lab: RunningLab, node: str) -> str:
    """The address to give to `lbctl --node`."""
    return f"unix:{lab.directory(node) / 'run' / 'rpc.sock'}"
