from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lbnode.model.codec import decode, encode
from lbnode.model.ids import PoolName
from lbnode.model.vip import (
    ANY_PORT,
    PortRange,
    Protocol,
    Vip,
    VipAddress,
    VipKey,
    VipPort,
    choose,
    vip_address,
)

HOST, PREFIX, LONGER = ip_address("203.0.113.9"), ip_network("203.0.113.0/24"), ip_network("203.0.113.8/29")
RANGE = PortRange(8000, 8099)


def tcp(address: VipAddress, port: VipPort) -> VipKey:
    return VipKey(address, Protocol.TCP, port)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (tcp(HOST, 80), "203.0.113.9:80/tcp"),
        (tcp(PREFIX, RANGE), "203.0.113.0/24:8000-8099/tcp"),
        (VipKey(ip_address("2001:db8::1"), Protocol.UDP, 53), "[2001:db8::1]:53/udp"),
        (VipKey(ip_network("2001:db8::/64"), Protocol.UDP, ANY_PORT), "[2001:db8::/64]:any/udp"),
    ],
)
def test_a_vip_is_written_as_operators_write_it(key: VipKey, text: str) -> None:
    assert str(key) == text


def test_the_longer_prefix_goes_first_and_then_one_port_before_a_range_before_any() -> None:
    keys = [
        tcp(address, port)
        for address in (PREFIX, LONGER, HOST)
        for port in (ANY_PORT, RANGE, 8000)
    ]  # fmt: skip
    for last in range(len(keys), 0, -1):
        assert choose(keys[:last], HOST, Protocol.TCP, 8000) == keys[last - 1]


def test_a_port_that_the_longer_prefix_does_not_have_belongs_to_the_shorter_one() -> None:
    keys = [tcp(HOST, 80), tcp(PREFIX, ANY_PORT)]
    assert choose(keys, HOST, Protocol.TCP, 443) == keys[1]
    assert choose(keys, HOST, Protocol.UDP, 443) is None
    assert choose(keys, ip_address("203.0.114.1"), Protocol.TCP, 443) is None


@pytest.mark.parametrize(
    ("one", "other", "covers", "overlaps"),
    [
        (tcp(PREFIX, ANY_PORT), tcp(HOST, 80), True, True),
        (tcp(HOST, 80), tcp(PREFIX, ANY_PORT), False, True),
        (tcp(PREFIX, RANGE), tcp(LONGER, PortRange(8099, 8100)), False, True),
        (tcp(PREFIX, RANGE), tcp(LONGER, 8100), False, False),
        (tcp(PREFIX, RANGE), VipKey(PREFIX, Protocol.UDP, RANGE), False, False),
        (tcp(PREFIX, RANGE), tcp(ip_network("2001:db8::/64"), RANGE), False, False),
    ],
)
def test_vips_cover_and_overlap_each_other(one: VipKey, other: VipKey, covers: bool, overlaps: bool) -> None:
    assert (one.covers(other), one.overlaps(other)) == (covers, overlaps)


def test_a_prefix_of_one_address_is_that_address() -> None:
    assert vip_address(ip_network("203.0.113.9/32")) == HOST
    assert vip_address(PREFIX) == PREFIX


@pytest.mark.parametrize("address", [HOST, PREFIX, ip_address("2001:db8::1"), ip_network("2001:db8::/64")])
@pytest.mark.parametrize("port", [80, RANGE, ANY_PORT])
def test_every_kind_of_vip_survives_the_store(address: VipAddress, port: VipPort) -> None:
    vip = Vip(address, Protocol.TCP, port, PoolName("web"))
    assert decode(Vip, encode(vip)) == vip
