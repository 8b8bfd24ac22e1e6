"""The lab's network without the product: plain routing to one backend that has the VIP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lbnode.lab import namespaces, network, processes, record, services, teardown
from lbnode.lab.errors import LabError
from lbnode.lab.plan import SEGMENTS, VIP, Host, Plan, Role
from lbnode.lab.running import wait_until
from lbnode.lab.shell import call_inside, inside, run
from tests.e2e.conftest import free_name


@pytest.fixture
def plan() -> Iterator[Plan]:
    plan = Plan(free_name("net"), nodes=2, backends=2)
    try:
        network.build_router(plan)
        for host in plan.hosts():
            network.build_host(plan, host)
        yield plan
    finally:
        teardown.take_down(plan.lab)


def answers(plan: Plan, source: str, target: str) -> bool:
    ping = ["ping", "-q", "-c", "1", "-W", "0.5", str(plan.host(target).address)]
    return (
        subprocess.run(inside(plan.namespace(source), ping), capture_output=True, check=False).returncode == 0
    )


def received(host: Host) -> int:
    """Frames that have reached a host."""
    (link,) = json.loads(run(inside(host.namespace, ["ip", "-j", "-s", "link", "show", "eth0"])))
    return int(link["stats64"]["rx"]["packets"])


def test_every_host_reaches_every_other(plan: Plan) -> None:
    names = [host.name for host in plan.hosts()]

    assert [(a, b) for a in names for b in names if not answers(plan, a, b)] == []


def test_no_sender_leaves_checksums_to_others(plan: Plan) -> None:
    for host in plan.hosts():
        for namespace, device in ((host.namespace, "eth0"), (plan.router, host.name)):
            features = run(inside(namespace, ["ethtool", "-k", device]))
            assert "tx-checksumming: off" in features, (namespace, device)
            assert "tcp-segmentation-offload: off" in features, (namespace, device)


def test_ports_towards_nodes_and_backends_let_xdp_send_back(plan: Plan) -> None:
    links = json.loads(run(inside(plan.router, ["ip", "-j", "link", "show"])))
    with_xdp = {link["ifname"] for link in links if "xdp" in link}

    assert with_xdp == {host.name for host in plan.hosts() if host.role in (Role.NODE, Role.BACKEND)}


def test_clients_packets_leave_their_sockets_hash_behind(plan: Plan) -> None:
    """Or the router's ECMP would follow the sender's moods instead of the layer-4 hash."""
    for client in plan.of(Role.CLIENT):
        filters = run(inside(plan.router, ["tc", "filter", "show", "dev", client.name, "ingress"]))
        assert "forget_hash" in filters


def test_frames_for_a_host_that_was_cut_off_reach_no_neighbour(plan: Plan) -> None:
    node, neighbour = plan.host("n1"), plan.host("n2")
    assert answers(plan, "client", "n1")
    network.unplug(plan, node)
    before = received(neighbour)

    ping = ["ping", "-q", "-c", "200", "-i", "0.002", "-W", "0.2", str(node.address)]
    subprocess.run(inside(plan.namespace("client"), ping), capture_output=True, check=False)

    assert received(neighbour) - before < 100


def test_an_unplugged_host_is_silent_with_its_carrier_up(plan: Plan) -> None:
    node = plan.host("n1")
    assert answers(plan, "client", "n1")

    network.unplug(plan, node)
    assert not answers(plan, "client", "n1")
    assert "LOWER_UP" in run(inside(node.namespace, ["ip", "link", "show", "eth0"]))

    network.plug(plan, node)
    wait_until(lambda: answers(plan, "client", "n1"), 5, "reach n1 again")


def test_unplugging_a_host_does_not_change_the_routers_address(plan: Plan) -> None:
    for host in plan.of(Role.NODE):
        network.unplug(plan, host)

    (link,) = json.loads(run(inside(plan.router, ["ip", "-j", "link", "show", "nodes"])))
    assert link["address"] == SEGMENTS[Role.NODE].mac


def test_a_backends_web_server_answers_on_the_vip(plan: Plan) -> None:
    backend = plan.host("b1")
    run(inside(backend.namespace, ["ip", "addr", "add", f"{VIP}/32", "dev", "lo"]))
    run(inside(plan.router, ["ip", "route", "add", f"{VIP}/32", "via", str(backend.address)]))
    services.start_server(plan, backend)

    def fetch() -> str:
        command = inside(plan.namespace("client"), ["curl", "-s", "-m", "1", f"http://{VIP}/"])
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    wait_until(lambda: fetch() == "b1\n", 10, "fetch a page")


def test_a_thread_inside_a_namespace_leaves_the_others_where_they_are(plan: Plan) -> None:
    outside = os.readlink("/proc/self/ns/net")
    within = call_inside(plan.router, lambda: os.readlink("/proc/thread-self/ns/net"))

    assert within != outside == os.readlink("/proc/thread-self/ns/net")


def test_teardown_ends_daemons_and_what_they_started(plan: Plan) -> None:
    node = plan.host("n1")
    family = (
        "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
    )
    log = record.host_directory(plan.lab, "n1") / "daemon.log"
    started = processes.start(node.namespace, [sys.executable, "-c", family], log)
    wait_until(lambda: len(namespaces.processes_in([node.namespace])) == 2, 10, "start two processes")

    assert teardown.take_down(plan.lab)

    assert not processes.is_alive(started)
    assert teardown.leftovers(plan.lab) == []
    assert not teardown.take_down(plan.lab)


def test_teardown_unmounts_what_lies_beneath_the_lab(plan: Plan) -> None:
    for name in ("n1", "n1/inner"):
        path = record.host_directory(plan.lab, name)
        run(["mount", "-t", "bpf" if name == "n1" else "tmpfs", "none", str(path)])
        if name == "n1":
            (path / "inner").mkdir(exist_ok=True)
    assert len(teardown.mounts_of(plan.lab)) == 2

    teardown.take_down(plan.lab)

    assert teardown.leftovers(plan.lab) == []


def test_two_commands_do_not_work_on_one_lab_at_once(plan: Plan) -> None:
    with record.lock(plan.lab), pytest.raises(LabError, match="another command is building it"):
        teardown.take_down(plan.lab)


def test_teardown_of_one_lab_leaves_another_with_a_longer_name_alone(plan: Plan) -> None:
    longer = Plan(f"{plan.lab}x", nodes=1, backends=1)
    try:
        network.build_router(longer)
        teardown.take_down(plan.lab)

        assert namespaces.of_lab(longer.lab) == [longer.router]
    finally:
        teardown.take_down(longer.lab)
