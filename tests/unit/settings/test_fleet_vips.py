# ruff: noqa: E501 - tables of cases read by the line
from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lbnode.model.fleet import HealthCheck
from lbnode.model.vip import ANY_PORT, PortRange
from lbnode.settings.fleet import FleetFileError, read_fleet
from lbnode.settings.fleet_text import write_fleet

PREFIX, HOST = ip_network("203.0.113.0/28"), ip_address("203.0.113.5")


def file_with(*vips: str, health: str = "health: off") -> str:
    listed = "".join(f"  - {{pool: web, {vip}}}\n" for vip in vips)
    return f"""
fleet: demo
backends: [{{name: b1, address: 10.0.2.1}}]
pools: [{{name: web, backends: [b1], {health}}}, {{name: api, backends: [b1], health: off}}]
vips:
{listed}"""


def problem(*vips: str, health: str = "health: off") -> str:
    with pytest.raises(FleetFileError) as caught:
        read_fleet(file_with(*vips, health=health))
    (line,) = str(caught.value).splitlines()
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("address: 203.0.113.0/28, port: 80", PREFIX, 80),
        ("address: 203.0.113.0/28, port: any", PREFIX, ANY_PORT),
        ("address: 203.0.113.5/32, port: 8000-8099", HOST, PortRange(8000, 8099)),
        ("address: 203.0.113.5, port: 8000 - 8000", HOST, 8000),
        ("address: 203.0.113.5, port: 1-65535", HOST, ANY_PORT),
    ],
)
def test_a_vip_may_have_many_addresses_and_many_ports(text: str, address: object, port: object) -> None:
    fleet = read_fleet(file_with(text))
    assert (fleet.vips[0].address, fleet.vips[0].port) == (address, port)
    assert read_fleet(write_fleet(fleet)) == fleet


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("address: 203.0.113.5/28, port: 80", "vips[0].address: 203.0.113.5/28 has bits set behind its first 28; write 203.0.113.0/28, or one"),
        ("address: 203.0.113.0/33, port: 80", "vips[0].address: '203.0.113.0/33' is no prefix; write it like 203.0.113.0/28"),
        ("address: 10.0.0.0/7, port: 80", "vips[0].address: 10.0.0.0/7 is more than a VIP can be; use /8 or longer"),
        ("address: 127.0.0.0/8, port: 80", "vips[0].address: 127.0.0.0/8 is a loopback address"),
        ("address: 224.0.0.0/8, port: 80", "vips[0].address: 224.0.0.0/8 is a multicast address"),
        ("address: 10.0.2.0/24, port: 80", "vips[0].address: 10.0.2.1 is that of backend b1; use one that no machine has"),
        ("address: 203.0.113.5, port: 90-80", "vips[0].port: 90-80 ends before it begins; write 80-90"),
        ("address: 203.0.113.5, port: 0-80", "vips[0].port: 0 is out of range; use 1..65535"),
        ("address: 203.0.113.5, port: 80-70000", "vips[0].port: 70000 is out of range; use 1..65535"),
        ("address: 203.0.113.5, port: http", "vips[0].port: 'http' is no port; use 1..65535, a range like 8000-8099, or any"),
        ("address: 203.0.113.5, port: '80'", "vips[0].port: '80' is no port; use 1..65535, a range"),
    ],
)  # fmt: skip
def test_a_bad_prefix_or_range_is_named_with_the_remedy(text: str, message: str) -> None:
    assert problem(text).startswith(message)


def test_ranges_with_ports_in_common_are_refused() -> None:
    found = problem("address: 203.0.113.0/28, port: 10-20", "address: 203.0.113.0/28, port: 20-30")
    assert found == (
        "vips[1].port: 203.0.113.0/28:20-30/tcp has ports in common with 203.0.113.0/28:10-20/tcp in vips[0]; "
        "nothing says which goes first: part them"
    )


def test_the_same_ports_twice_are_refused() -> None:
    found = problem("address: 203.0.113.0/28, port: any", "address: 203.0.113.0/28, port: 1-65535")
    assert "203.0.113.0/28:any/tcp is given already in vips[0]" in found


def test_what_differs_in_length_or_in_kind_of_port_may_overlap() -> None:
    vips = [
        f"address: {address}, port: {port}, protocol: {protocol}"
        for address in ("203.0.113.0/24", "203.0.113.0/28", "203.0.113.5")
        for port in ("80", "80-89", "90-99", "any")
        for protocol in ("tcp", "udp")
    ]
    assert len(read_fleet(file_with(*vips)).vips) == len(vips)


def test_the_vips_of_a_prefix_agree_about_other_ports_but_not_with_its_addresses() -> None:
    read_fleet(
        file_with("address: 203.0.113.0/28, port: 80, wrong_port: pass", "address: 203.0.113.5, port: 80")
    )
    assert "say the same in both" in problem(
        "address: 203.0.113.0/28, port: 80, wrong_port: pass", "address: 203.0.113.0/28, port: 81"
    )


def test_backends_behind_many_ports_are_not_probed_on_a_guess() -> None:
    text = "address: 203.0.113.5, port: any"
    assert problem(text, health="table_size: 251").startswith(
        "pools[0].health: is missing; no VIP of the pool has one port, so say which to try"
    )
    assert read_fleet(file_with(text, health="health: {port: 81}")).pools[0].health == HealthCheck(81)
    with_one = file_with(text, "address: 203.0.113.5, port: 443", health="table_size: 251")
    assert read_fleet(with_one).pools[0].health == HealthCheck(443)
