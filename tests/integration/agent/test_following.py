"""The agent follows the fleet, says what it has, and goes on without the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network

from lbnode.model.ids import EpochNumber
from lbnode.model.view import FleetView
from lbnode.model.vip import ANY_PORT, Protocol, Vip
from lbnode.netdev import bpffs
from tests.integration import tunnel
from tests.integration.agent.machine import PORT, VIP, WEB, Backend, drop, on_lo
from tests.integration.agent.traffic import connect, echo, exchange
from tests.integration.cable import Cable, eventually, ip
from tests.integration.memory import until
from tests.integration.tunnel import BACKEND, Node
from tests.unit.backend import fleets

PREFIX = IPv4Network("203.0.113.0/28")


def test_a_vip_follows_the_fleet(backend: Backend) -> None:
    backend.serve()
    desired = fleets.view(fleets.epoch(3, fleets.ID1)).desired
    assert desired is not None
    backend.in_store(lambda store: drop(store, replace(desired, vips=())))
    eventually("the VIP leaves lo", lambda: VIP not in on_lo(backend.cable))
    assert backend.status()["vips"] == []


def test_a_whole_prefix_is_served_on_every_address_and_port_and_leaves_no_trace(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    desired = fleets.view(fleets.epoch(3, fleets.ID1)).desired
    assert desired is not None
    wanted = replace(desired, vips=(*desired.vips, Vip(PREFIX, Protocol.TCP, ANY_PORT, WEB)))
    backend.in_store(lambda store: drop(store, wanted))
    eventually("the prefix is local", lambda: str(PREFIX) in local_prefixes(backend.cable))
    ip("-n", backend.cable.near, "route", "del", "local", str(PREFIX), "dev", "lo")
    eventually("the prefix is back", lambda: str(PREFIX) in local_prefixes(backend.cable))
    ip("-n", backend.cable.far, "route", "add", str(PREFIX), "dev", "tunnel", "src", str(tunnel.CLIENT))
    for address in (PREFIX[0], PREFIX[-1]):
        with connect(backend.cable, address=address) as connection:
            exchange(connection)
    (vip,) = (vip for vip in backend.status()["vips"] if vip["vip"] == f"{PREFIX}:any/tcp")
    assert (vip["on_lo"], vip["second_chance"]) == (True, True)
    agent.kill()
    agent.wait()
    assert f"{PREFIX} is off lo" in backend.run("unload").stdout
    assert str(PREFIX) not in local_prefixes(backend.cable)


def local_prefixes(cable: Cable) -> str:
    return ip("-n", cable.near, "route", "show", "table", "local", "dev", "lo")


def test_an_address_that_somebody_removes_comes_back(backend: Backend) -> None:
    backend.serve()
    ip("-n", backend.cable.near, "addr", "del", f"{VIP}/32", "dev", "lo")
    eventually("the VIP is back", lambda: VIP in on_lo(backend.cable))


def test_the_agent_registers_and_acknowledges_what_it_has_loaded(backend: Backend) -> None:
    def acknowledged(view: FleetView) -> bool:
        live = view.live_agents.get(fleets.B1)
        return live is not None and live.pools == {WEB: EpochNumber(3)} and live.nodes == ("n1",)

    def gone_but_a_member(view: FleetView) -> bool:
        return fleets.B1 not in view.live_agents and view.agents[fleets.B1].addresses == (BACKEND,)

    agent = backend.start()
    backend.in_store(lambda store: until(store, acknowledged))
    agent.kill()
    agent.wait()
    backend.in_store(lambda store: until(store, gone_but_a_member))


def test_a_vip_that_nobody_listens_for_has_no_second_chance_until_somebody_does(backend: Backend) -> None:
    def told(silent: bool) -> Callable[[FleetView], bool]:
        def holds(view: FleetView) -> bool:
            live = view.live_agents.get(fleets.B1)
            return live is not None and (f"{VIP}:{PORT}" in live.no_second_chance) is silent

        return holds

    backend.serve()
    backend.in_store(lambda store: until(store, told(silent=True)))
    with echo(backend.cable):
        backend.in_store(lambda store: until(store, told(silent=False)))
    chances = {vip["vip"]: vip["second_chance"] for vip in backend.status()["vips"]}
    assert chances == {f"{VIP}:{PORT}/tcp": True, f"{VIP}:53/udp": False}


def test_status_tells_an_agent_that_is_cut_off_from_the_fleet(backend: Backend, server: None) -> None:
    backend.serve()
    assert "store: in reach" in backend.run("status").stdout

    (backend.directory / "store" / "demo").rename(backend.directory / "away")
    eventually("the agent goes by its own view", lambda: "local view" in backend.log)
    assert "store: OUT OF REACH: going by the last epochs" in backend.run("status").stdout
    assert backend.status()["contact"]["view"] == "local view"

    (backend.directory / "away").rename(backend.directory / "store" / "demo")
    eventually("the agent has the store again", lambda: backend.log.count("fleet view") == 2)
    assert backend.status()["contact"]["view"] == "fleet"


def test_without_the_store_a_rebooted_machine_serves_from_its_own_memory(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    eventually("the view is kept", (backend.directory / "state" / "fleet.json").exists)
    agent.kill()
    agent.wait()
    reboot(backend)
    backend.settings["store"] = {"kind": "zookeeper", "hosts": ["127.0.0.1:1"]}
    backend.start()
    eventually("the log says so", lambda: "local view" in backend.log)
    with connect(backend.cable) as connection:
        exchange(connection)


def reboot(backend: Backend) -> None:
    """Take away what does not survive a reboot: pins, programs, addresses."""
    near = backend.cable.near
    bpffs.unmount(backend.directory / "run" / "bpf")
    ip("-n", near, "addr", "del", f"{VIP}/32", "dev", "lo")
    ip("netns", "exec", near, "tc", "qdisc", "del", "dev", "eth0", "clsact")
    eventually("the program is gone", lambda: "xdp" not in ip("-n", near, "link", "show", "eth0"))
