"""Connections through GRE to a VIP on lo, while the agent comes and goes."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest

from lbnode.dataplane.pins import BACKEND as MAPS_PIN
from tests.integration.agent.machine import VIP, Backend
from tests.integration.agent.traffic import BLOCK, connect, exchange, offered_mss
from tests.integration.cable import eventually, inside, ip, ip_json
from tests.integration.memory import TIMEOUT_S
from tests.integration.tunnel import NODE, Node

MSS = 1432


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_connection_through_the_tunnel_reaches_a_vip_on_lo(
    backend: Backend, node: Node, server: None, mode: str
) -> None:
    backend.settings["xdp_mode"] = mode
    backend.serve()
    with connect(backend.cable) as connection:
        exchange(connection, BLOCK * 16)
    status = backend.status()
    assert status["xdp"] == mode
    assert status["sources"] == [str(NODE)]
    assert status["packets"]["delivered_in_sync"] > len(BLOCK) * 16 / 1500
    assert not [name for name, packets in status["packets"].items() if name.startswith("drop") and packets]


def test_packets_with_a_key_or_of_another_epoch_are_looked_up_and_delivered(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    with connect(backend.cable) as connection:
        node.key = 0x0007_0008
        exchange(connection, b"keyed")
        node.key, node.stamp = None, 2
        exchange(connection, b"old epoch")
    packets = backend.status()["packets"]
    assert packets["delivered_held"] >= 4
    assert packets["delivered_last"] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_connection_outlives_the_agent_and_its_successor(
    backend: Backend, node: Node, server: None, how: signal.Signals
) -> None:
    agent = backend.serve()
    with connect(backend.cable) as connection:
        exchange(connection)
        agent.send_signal(how)
        agent.wait(TIMEOUT_S)
        exchange(connection)
        assert backend.status()["agent_pid"] is None
        backend.start()
        exchange(connection)
        with connect(backend.cable) as another:
            exchange(another)


def test_a_connection_outlives_an_agent_that_makes_other_maps(
    backend: Backend, node: Node, server: None
) -> None:
    """Those in use go on until nothing is missing in the others: here, as long as nothing is known of the fleet."""
    agent, pins = backend.serve(), backend.directory / "run" / "bpf"
    before, store = (pins / MAPS_PIN).readlink(), backend.settings["store"]
    with connect(backend.cable) as connection:
        exchange(connection)
        agent.kill()
        agent.wait()
        (backend.directory / "state" / "fleet.json").unlink(missing_ok=True)
        backend.settings |= {
            "table_places": 1 << 20,
            "store": {"kind": "zookeeper", "hosts": ["127.0.0.1:1"]},
        }
        ignorant = backend.start(until="maps of an earlier agent")
        exchange(connection)
        assert (pins / MAPS_PIN).readlink() == before
        ignorant.kill()
        ignorant.wait()
        backend.settings["store"] = store
        backend.start()
        eventually("its maps are in use", lambda: (pins / MAPS_PIN).readlink() != before)
        exchange(connection)
        with connect(backend.cable) as another:
            exchange(another)
    assert len([*pins.glob(f"{MAPS_PIN}-*")]) == 1


def test_the_mss_is_clamped_on_the_wire_even_without_an_agent(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    assert offered_mss(backend.cable) == MSS
    agent.kill()
    agent.wait()
    assert offered_mss(backend.cable) == MSS


def test_a_changed_mtu_changes_the_clamp(backend: Backend, node: Node, server: None) -> None:
    del backend.settings["path_mtu"]
    backend.serve()
    ip("-n", backend.cable.near, "link", "set", "eth0", "mtu", "1400")
    eventually("attached again", lambda: "path_mtu=1400" in backend.log)
    assert offered_mss(backend.cable) == 1400 - 28 - 40


def test_a_vip_on_lo_is_never_answered_for_by_arp(backend: Backend) -> None:
    backend.serve()
    far = backend.cable.far
    ip("-n", far, "route", "add", f"{VIP}/32", "dev", "eth0")

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"who has", (str(VIP), 9))

    inside(far, ask)
    entry = eventually("the request times out", lambda: failed_neighbour(far))
    assert "lladdr" not in entry


def failed_neighbour(namespace: str) -> dict[str, Any] | None:
    entries = ip_json("-n", namespace, "neigh", "show", str(VIP))
    states = [entry for entry in entries if entry["state"] != ["INCOMPLETE"]]
    return states[0] if states else None
