"""`lbctl doctor` in a whole fleet, on ZooKeeper and behind a router: all is well, and then one thing is not.

Each test breaks one thing for real, asks the command on the machine that suffers, and puts the thing right again.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lbnode.lab import network
from lbnode.lab.bird import Control
from lbnode.lab.plan import SEGMENTS, Host, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.shell import run_script
from lbnode.model.members import View
from lbnode.model.status import FleetStatus, NodeStatus
from tests.e2e.conftest import LBCTL, on

AGAIN_S = 30.0
AHEAD_S = 90
ROOM = 1600

CLOCK = f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);

    if (clock == CLOCK_REALTIME)
        now->tv_sec += {AHEAD_S};
    return failed;
}}
"""
"""A clock that is wrong, for one process: namespaces have no wall clock of their own."""


def doctor(lab: RunningLab, host: str, role: str, *under: str) -> dict[str, Any]:
    """What the command says on a host; standard output must be JSON and nothing else, and the status agree."""
    config = str(lab.directory(host) / "config.yaml")
    ended = on(lab, host, *under, LBCTL, "doctor", "--role", role, "--config", config, "--json")
    return read(ended)


def read(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == (0 if document["healthy"] else 1), ended.stderr
    return document


def findings(document: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Everything that was found, with its matter."""
    return [(each["matter"], found) for each in document["examinations"] for found in each["findings"]]


def finding(document: dict[str, Any], matter: str, words: str) -> dict[str, str]:
    """The one finding of a matter that says `words`."""
    (found,) = (
        found
        for where, found in findings(document)
        if where == matter and words in f"{found['subject']}: {found['what']}"
    )
    return found


def fleet(lab: RunningLab, node: str = "n1") -> FleetStatus:
    with lab.client(node) as client:
        return client.status()


def own(lab: RunningLab, node: str = "n1") -> NodeStatus:
    (status,) = (each for each in fleet(lab, node).nodes if each.name == node)
    return status


def is_up(lab: RunningLab, node: str = "n1") -> bool:
    return set(own(lab, node).routers.values()) == {"up"}


def is_in_step(lab: RunningLab) -> bool:
    status = fleet(lab)
    return status.view is View.FLEET and status.agree and not status.problems


@contextmanager
def broken(lab: RunningLab, where: str, do: str, undo: str) -> Iterator[None]:
    """Run the command `do` in a namespace, and `undo` at the end, whatever happened; then wait for the fleet."""
    run_script(where, [do])
    try:
        yield
    finally:
        run_script(where, [undo])
        wait_until(lambda: is_in_step(lab) and is_up(lab), AGAIN_S, "the fleet is well again")


@pytest.fixture(scope="module")
def roomy(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab with room for tunnels on every link between nodes and backends, as the doctor advises."""
    set_mtu(lab, ROOM)
    try:
        yield lab
    finally:
        set_mtu(lab, 1500)


def set_mtu(lab: RunningLab, mtu: int) -> None:
    hosts = [*lab.plan.of(Role.NODE), *lab.plan.of(Role.BACKEND)]
    ports = [host.name for host in hosts]
    bridges = [SEGMENTS[role].name for role in (Role.NODE, Role.BACKEND)]
    run_script(lab.plan.router, [f"ip link set {port} mtu {mtu}" for port in (*ports, *bridges)])
    for host in hosts:
        run_script(host.namespace, [f"ip link set eth0 mtu {mtu}"])


def test_a_fleet_on_narrow_links_is_well_and_is_advised_to_widen_them(lab: RunningLab) -> None:
    document = doctor(lab, "n1", "node")
    assert document["healthy"]
    ((matter, found),) = findings(document)
    assert (matter, found["grade"]) == ("paths", "warning")
    assert found["subject"].startswith("backends b1 (10.73.0.11), b2 (10.73.0.12), ")
    assert "set an MTU of 1528 or more (1600, say)" in found["mend"]


def test_every_machine_of_a_fleet_with_room_is_well(roomy: RunningLab) -> None:
    for host in roomy.plan.of(Role.NODE):
        assert findings(doctor(roomy, host.name, "node")) == []
    assert findings(doctor(roomy, "b1", "backend")) == []


def test_the_fleet_is_well_by_the_word_of_a_node(roomy: RunningLab) -> None:
    asked = f"unix:{roomy.directory('n1') / 'run' / 'rpc.sock'}"
    document = read(on(roomy, "client", LBCTL, "--node", asked, "doctor", "--role", "operator", "--json"))
    assert document["healthy"]
    assert "fleet" not in {matter for matter, _ in findings(document)}


def test_a_session_that_its_router_ended_is_found_by_the_word_of_the_daemon(roomy: RunningLab) -> None:
    router = Control(roomy.directory("router"))
    router.ask("disable nodes0")
    router.ask(f"disable {session_of(router, roomy.plan.of(Role.NODE)[0])}")
    try:
        wait_until(lambda: not is_up(roomy), AGAIN_S, "the session is down")
        document = doctor(roomy, "n1", "node")
    finally:
        router.ask("enable all")
        wait_until(lambda: is_up(roomy), AGAIN_S, "the session is up again")
    found = finding(document, "routers", "the session is down")
    assert "its port 179 takes connections, so the two do not agree on BGP" in found["what"]
    assert "neighbor 10.72.0.11 as 65001" in found["mend"]


def session_of(router: Control, node: Host) -> str:
    """BIRD's name for the session with a node."""
    for name in re.findall(r"^(node0_\d+) ", router.ask("show protocols"), re.MULTILINE):
        if f"Neighbor address: {node.address}\n" in router.ask(f"show protocols all {name}"):
            return str(name)
    raise AssertionError(f"{node.name} has no session")


def test_a_firewall_that_lets_all_but_gre_through_is_found(roomy: RunningLab) -> None:
    node, backend = roomy.plan.of(Role.NODE)[0].address, roomy.plan.of(Role.BACKEND)[1].address
    rule = f"from {node} to {backend} ipproto gre blackhole"
    with broken(roomy, roomy.plan.router, f"ip rule add {rule}", f"ip rule del {rule}"):
        document = doctor(roomy, "n1", "node")
    found = {where for where, _ in findings(document)}
    assert found == {"probes"}
    lost = finding(
        document, "probes", "VIP 192.0.2.10:80 to backend b2: a SYN through the tunnel is not answered"
    )
    assert "does a firewall let GRE, IP protocol 47, through?" in lost["mend"]


def test_a_backend_without_a_route_is_found(roomy: RunningLab) -> None:
    node, backend = roomy.plan.of(Role.NODE)[0], roomy.plan.of(Role.BACKEND)[2].address
    route = f"unreachable {backend}"
    with broken(roomy, node.namespace, f"ip route add {route}", f"ip route del {route}"):
        document = doctor(roomy, "n1", "node")
    assert "ip route add 10.73.0.13 via" in finding(document, "paths", "backend b3")["mend"]


def test_without_the_store_the_routers_are_still_known_to_be_up(roomy: RunningLab) -> None:
    node = roomy.plan.of(Role.NODE)[0]
    network.isolate(roomy.plan, node)
    try:
        wait_until(lambda: fleet(roomy).view is View.LOCAL, AGAIN_S, "the node has lost the store")
        document = doctor(roomy, node.name, "node")
    finally:
        network.join(roomy.plan, node)
        wait_until(lambda: is_in_step(roomy), AGAIN_S, "the node has the store again")
    assert finding(document, "store", "no session within 2 s")["grade"] == "failure"
    assert finding(document, "daemon", "is not connected to the fleet")["grade"] == "failure"
    assert "routers" not in {matter for matter, _ in findings(document)}


def test_a_clock_that_is_wrong_is_measured_by_zookeepers(roomy: RunningLab, tmp_path: Path) -> None:
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=30)
    document = doctor(roomy, "n1", "node", "env", f"LD_PRELOAD={library}")
    found = finding(document, "clock", f"is {AHEAD_S}.0 s ahead of that of ZooKeeper")
    assert found["mend"].startswith("timedatectl set-ntp true")
