"""The doctor on the way to backends, over a real cable that is really too narrow, cut or mute."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from lbnode.doctor.checks.paths import check_paths
from lbnode.doctor.findings import Finding, Grade
from lbnode.doctor.gather.paths import End, paths
from lbnode.netdev import Netlink
from tests.integration import cable as cables
from tests.integration.cable import Cable, inside, ip

FAR = "10.0.0.1"
FAR_IPV6 = "2001:db8::1"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cable]:
    with cables.laid() as laid:
        for namespace, address in ((laid.far, FAR_IPV6), (laid.near, "2001:db8::2")):
            ip("-n", namespace, "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
        yield laid


@pytest.fixture
def cable(shared: Cable) -> Iterator[Cable]:
    """The cable, as it was before after each test."""
    yield shared
    ip("-n", shared.far, "link", "set", "eth0", "mtu", "1600")
    ip("-n", shared.near, "link", "set", "eth0", "mtu", "1600")
    ip("-n", shared.near, "route", "flush", FAR)
    sysctl(shared.far, "net.ipv4.icmp_echo_ignore_all=0")


def sysctl(namespace: str, setting: str) -> None:
    command = ["ip", "netns", "exec", namespace, "sysctl", "-qw", setting]
    subprocess.run(command, check=True, timeout=20)


def findings(cable: Cable, address: str = FAR) -> tuple[Finding, ...]:
    """What the doctor at the near end says of a backend."""

    async def look() -> tuple[Finding, ...]:
        async with Netlink() as netlink:
            return check_paths(await paths(netlink, [End("b1", ip_address(address))])).findings

    return inside(cable.near, lambda: asyncio.run(look()))


@pytest.mark.parametrize("address", [FAR, FAR_IPV6])
def test_a_wide_path_to_a_backend_that_answers_is_good(cable: Cable, address: str) -> None:
    assert findings(cable, address) == ()


@pytest.mark.parametrize("address", [FAR, FAR_IPV6])
def test_a_path_that_swallows_large_packets_is_measured(cable: Cable, address: str) -> None:
    ip("-n", cable.far, "link", "set", "eth0", "mtu", "1450")
    (found,) = findings(cable, address)
    assert found.grade is Grade.FAILURE
    carried = 1450 + 4  # the driver leaves room for a VLAN tag
    assert f"more than {carried} bytes do not arrive, although eth0 takes 1600" in found.what


def test_the_route_that_is_advised_tells_the_node_what_the_path_carries(cable: Cable) -> None:
    ip("-n", cable.far, "link", "set", "eth0", "mtu", "1450")
    command = findings(cable)[0].mend.partition("or: ")[2].partition(" (")[0]
    assert command == f"ip route replace {FAR} dev eth0 mtu 1454"
    subprocess.run(["ip", "netns", "exec", cable.near, *command.split()], check=True, timeout=20)
    (found,) = findings(cable)
    assert found.grade is Grade.WARNING
    assert "1454 bytes: 1426 inside the tunnel" in found.what


def test_links_without_room_for_a_tunnel_are_a_warning(cable: Cable) -> None:
    for namespace in (cable.far, cable.near):
        ip("-n", namespace, "link", "set", "eth0", "mtu", "1500")
    (found,) = findings(cable)
    assert found.grade is Grade.WARNING
    assert "1472 inside the tunnel" in found.what


def test_a_backend_without_a_route_is_found(cable: Cable) -> None:
    (found,) = findings(cable, "203.0.113.9")
    assert found.grade is Grade.FAILURE
    assert "no route" in found.what


def test_a_backend_that_nobody_is_is_found(cable: Cable) -> None:
    (found,) = findings(cable, "10.0.0.99")
    assert found.grade is Grade.FAILURE
    assert "10.0.0.99 on eth0 does not tell its Ethernet address" in found.what


def test_a_backend_that_answers_no_echo_is_not_called_broken(cable: Cable) -> None:
    sysctl(cable.far, "net.ipv4.icmp_echo_ignore_all=1")
    (found,) = findings(cable)
    assert found.grade is Grade.UNCHECKED
