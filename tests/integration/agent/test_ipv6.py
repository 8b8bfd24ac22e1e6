"""The agent and IPv6: VIPs on lo that nobody answers for on the link, and machines on which IPv6 is off."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lbnode.model.fleet import Protocol, Vip
from lbnode.netdev import bpffs
from tests.integration.agent.machine import PORT, VIP, WEB, Backend
from tests.integration.cable import eventually, inside, ip, laid
from tests.integration.memory import found_fleet, until
from tests.unit.backend import fleets

VIP6 = ip_address("2001:db8::80")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A machine of a fleet with VIPs of both families, its agent not started."""
    with laid() as cable, ExitStack() as stack:
        stack.callback(bpffs.unmount, tmp_path / "run" / "bpf")
        view = fleets.view(fleets.epoch(3, fleets.ID1))
        assert view.desired is not None
        vips = (*view.desired.vips, Vip(VIP6, Protocol.TCP, PORT, WEB))
        fleet = replace(view, desired=replace(view.desired, vips=vips))
        made = Backend(cable, tmp_path, stack)
        made.in_store(lambda store: found_fleet(store, fleet))
        yield made


def on_lo(backend: Backend) -> set[str]:
    (link,) = json.loads(ip("-j", "-n", backend.cable.near, "addr", "show", "dev", "lo"))
    return {entry["local"] for entry in link["addr_info"]}


def switch_ipv6(backend: Backend, interface: str, off: bool) -> None:
    path = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    inside(backend.cable.near, lambda: path.write_text(f"{off:d}"))


def alarms(backend: Backend) -> tuple[str, ...]:
    """What the agent complains of before the fleet."""
    view = backend.in_store(lambda store: until(store, lambda view: bool(view.live_agents)))
    return view.live_agents[fleets.B1].alarms


@pytest.mark.parametrize("interface", ["lo", "eth0"])
def test_where_ipv6_is_off_the_other_vips_are_served_and_the_remedy_is_told(
    backend: Backend, interface: str
) -> None:
    switch_ipv6(backend, interface, off=True)
    backend.start()
    eventually("the IPv4 VIP", lambda: str(VIP) in on_lo(backend))
    remedy = f"VIP {VIP6}: {interface}: IPv6 is off; sysctl -w net.ipv6.conf.{interface}.disable_ipv6=0"
    eventually("an alarm", lambda: any(alarm.startswith(remedy) for alarm in alarms(backend)))
    assert str(VIP6) not in on_lo(backend)
    switch_ipv6(backend, interface, off=False)
    eventually("the IPv6 VIP", lambda: str(VIP6) in on_lo(backend))
    eventually("no alarm", lambda: not alarms(backend))
    assert backend.log.count("IPv6 is off") == 1, "told once"


def test_an_ipv6_vip_on_lo_is_never_answered_for_on_the_link_and_goes_with_the_agents_traces(
    backend: Backend,
) -> None:
    agent = backend.start()
    eventually("the IPv6 VIP", lambda: str(VIP6) in on_lo(backend))
    far = backend.cable.far
    ip("-n", far, "addr", "add", "fd00::1/64", "dev", "eth0", "nodad")
    ip("-n", far, "route", "add", f"{VIP6}/128", "dev", "eth0")
    ping = ["ip", "netns", "exec", far, "ping", "-6", "-c", "1", "-W", "1", str(VIP6)]
    assert subprocess.run(ping, capture_output=True, check=False).returncode != 0
    (entry,) = json.loads(ip("-j", "-n", far, "neigh", "show", str(VIP6)))
    assert entry["state"][0] in ("INCOMPLETE", "FAILED")
    agent.kill()
    agent.wait()
    assert backend.run("unload").returncode == 0
    assert str(VIP6) not in on_lo(backend)
