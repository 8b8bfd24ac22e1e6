"""`lbbackend` as an operator runs it: what it says and what it refuses."""

from __future__ import annotations

from lbnode.model.view import FleetView
from tests.integration.agent.machine import PORT, VIP, Backend
from tests.integration.cable import eventually, ip
from tests.integration.memory import until
from tests.integration.tunnel import BACKEND, NODE
from tests.unit.backend import fleets


def test_status_is_readable_whether_or_not_the_agent_runs(backend: Backend) -> None:
    agent = backend.serve()
    running = backend.run("status").stdout
    assert f"backend b1: agent running as process {agent.pid}" in running
    assert f"accepts GRE from nodes: {NODE}" in running
    agent.kill()
    agent.wait()
    after = backend.run("status").stdout
    assert after.splitlines()[0] == "backend b1: agent not running"
    place = f"pool web, id {fleets.ID1}, epoch 3, takes new flows, no second chance"
    assert f"vip {VIP}:{PORT}/tcp: {place}" in after.splitlines()


def test_unload_refuses_while_the_agent_runs(backend: Backend) -> None:
    agent = backend.start()
    done = backend.run("unload")
    assert done.returncode == 1
    assert f"lbbackend runs as process {agent.pid}; stop it first" in done.stderr


def test_a_second_agent_on_the_same_instance_is_refused(backend: Backend) -> None:
    backend.start()
    done = backend.run("run")
    assert done.returncode == 1
    assert "lbbackend runs as process" in done.stderr


def test_an_interface_that_is_not_there_is_named_with_those_that_are(backend: Backend) -> None:
    backend.settings["interface"] = "eth9"
    done = backend.run("run")
    assert done.returncode == 1
    assert "error: interface eth9: no such interface; have: eth0, lo" in done.stderr


def test_bad_settings_exit_with_2(backend: Backend) -> None:
    backend.settings["adress"] = "10.0.0.2"
    done = backend.run("run")
    assert done.returncode == 2
    assert "adress: unknown key; did you mean address?" in done.stderr


def test_a_tunnel_address_that_the_machine_does_not_have_is_named_until_it_has_it(backend: Backend) -> None:
    """In the log, in the status of the machine and in that of the fleet."""
    other = "2001:db8::99"
    backend.settings["address"] = [str(BACKEND), other]
    problem = f"address {other}: on no interface of this machine"

    def said(view: FleetView) -> bool:
        live = view.live_agents.get(fleets.B1)
        return live is not None and any(alarm.startswith(problem) for alarm in live.alarms)

    assert f"problem: {problem}" in backend.run("status").stdout
    backend.serve()
    backend.in_store(lambda store: until(store, said))
    assert f"address {BACKEND}" not in backend.log
    ip("-n", backend.cable.near, "addr", "add", f"{other}/64", "dev", "eth0", "nodad")
    backend.in_store(
        lambda store: until(store, lambda view: fleets.B1 in view.live_agents and not said(view))
    )
    assert backend.status()["problems"] == []
    assert backend.log.count(problem) == 1
    assert f"tunnel address is here now     address={other}" in backend.log


def test_a_tunnel_address_that_is_taken_off_the_machine_is_named(backend: Backend) -> None:
    backend.serve()
    assert backend.status()["problems"] == []
    ip("-n", backend.cable.near, "addr", "del", f"{BACKEND}/24", "dev", "eth0")
    problem = f"address {BACKEND}: on no interface of this machine"
    eventually("the warning", lambda: problem in backend.log)
    (told,) = backend.status()["problems"]
    assert told.startswith(problem)
    assert told.endswith("add it there, or correct `address` in lbbackend.yaml")
