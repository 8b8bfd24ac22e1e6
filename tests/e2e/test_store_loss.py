"""Static stability: losing ZooKeeper changes nothing in forwarding, and everything agrees again after its return."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE

import pytest

from lbnode.lab import assembly, processes, teardown
from lbnode.lab.assembly import bring_up, server_of
from lbnode.lab.plan import VIP, Plan, Role
from lbnode.lab.report import Verdict
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.epoch import BackendState
from lbnode.model.status import AgentState, FleetStatus
from lbnode.rpc.errors import RpcError
from tests.e2e.conftest import LBCTL, free_name, lbctl, on

REQUESTS = 30
SOON_S = 20.0
DRILL_S = 150.0


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningLab]:
    """Two nodes, three backends, ZooKeeper; tests leave it as they found it."""
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


def states(found: FleetStatus) -> dict[str, BackendState]:
    return {slot.backend: slot.state for slot in found.pools[0].slots if slot.backend is not None}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scope", ["all", "one"])
def test_traffic_goes_on_without_the_store_status_says_so_and_all_agree_afterwards(scope: str) -> None:
    with drilling(scope) as drill:
        out, err = drill.communicate(timeout=DRILL_S)
    assert drill.returncode == Verdict.HELD, out + err
    report = json.loads(out)
    assert report["untrue"] == {}
    assert report["lasted"] > 0
    assert report["victims"] > 0
    assert report["agreed_after_s"] < SOON_S


@contextmanager
def drilling(scope: str) -> Iterator[subprocess.Popen[str]]:
    """A drill of the store in a lab of its own, under way."""
    name = free_name(scope)
    words = f"lab drill store --name {name} --scope {scope} --cut 20 --flows 40 --json".split()
    try:
        with subprocess.Popen([LBCTL, *words], stdout=PIPE, stderr=PIPE, text=True) as drill:
            yield drill
            drill.terminate()
    finally:
        teardown.take_down(name)


@pytest.mark.timeout(180)
def test_an_address_whose_backends_have_all_failed_is_withdrawn_and_comes_back_with_them(
    fleet: RunningLab,
) -> None:
    backends = fleet.plan.of(Role.BACKEND)
    for backend in backends:
        processes.kill(fleet.record.processes[server_of(backend)])
    wait_until(lambda: fleet.next_hops() == set(), SOON_S, "the address to be withdrawn")
    assert any("not announced" in alarm for alarm in next(iter(status(fleet).nodes)).alarms)

    for backend in backends:
        fleet.record = assembly.start_server(fleet.record, backend)
    wait_until(lambda: fleet.next_hops() == {"n1", "n2"}, SOON_S, "the address to be announced again")
    wait_until(lambda: set(answers(fleet)) == {"b1", "b2", "b3"}, SOON_S, "all backends to serve")


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
