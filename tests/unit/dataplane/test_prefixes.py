"""Cutting VIPs into prefixes and stretches: whoever looks there finds what `choose` says."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

from lbnode.dataplane.prefixes import Prefix, cut, cut_ports, lots
from lbnode.dataplane.values import VipEntry
from lbnode.model.ids import IPAddress, PoolName
from lbnode.model.vip import ANY_PORT, PortRange, Protocol, VipKey, choose, vip_address

NETWORKS = [ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "10.1.3.0/24",
                                          "2001:db8::/32", "2001:db8::1/128")]  # fmt: skip
RANGES = (PortRange(10, 19), PortRange(30, 59), ANY_PORT, 15, 40, 80)
ADDRESSES = [ip_address(text) for text in ("10.9.9.9", "10.1.9.9", "10.1.2.9", "10.1.2.3", "10.1.3.1", "2001:db8::2",
                                           "2001:db8::1", "192.0.2.1")]  # fmt: skip
PORTS = (1, 9, 10, 15, 16, 19, 20, 30, 40, 41, 59, 60, 80, 65535)
STICKY = PoolName("sticky")


def some_vips(seed: int) -> list[VipEntry]:
    chance = random.Random(seed)
    return [
        VipEntry(vip_address(network), protocol, port, chance.choice([PoolName("web"), STICKY]))
        for network in NETWORKS
        for protocol in Protocol
        for port in RANGES
        if chance.random() < 0.3
    ]


def look_up(
    prefixes: list[Prefix], address: IPAddress, protocol: Protocol, port: int | None
) -> VipKey | None:
    """As a packet does: the longest prefix decides alone."""
    holding = [prefix for prefix in prefixes if address in prefix.network]
    if not holding:
        return None
    longest = max(holding, key=lambda prefix: prefix.network.prefixlen)
    if port is None and longest.network.num_addresses == 1:
        return longest.fragments.get(protocol)
    found = [
        stretch.vip
        for stretch in longest.stretches
        if stretch.protocol is protocol
        and (stretch.ports is None if port is None else stretch.ports is not None and port in stretch.ports)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_packet_finds_the_vip_that_it_belongs_to() -> None:
    for seed in range(30):
        entries = some_vips(seed)
        keys = [entry.key for entry in entries]
        prefixes = [cut(lot, {STICKY}) for lot in lots(entries)]
        for address in ADDRESSES:
            for protocol in Protocol:
                for port in PORTS:
                    expected = choose(keys, address, protocol, port)
                    if expected is None or not expected.is_exact:
                        assert look_up(prefixes, address, protocol, port) == expected


def test_a_fragment_is_served_when_all_vips_that_it_may_be_for_agree_without_a_port() -> None:
    for seed in range(30):
        entries = some_vips(seed)
        prefixes = [cut(lot, {STICKY}) for lot in lots(entries)]
        for address in ADDRESSES:
            for protocol in Protocol:
                pools = {
                    entry.pool
                    for entry in entries
                    if entry.protocol is protocol and address in entry.key.network
                }
                found = look_up(prefixes, address, protocol, None)
                assert (found is not None) == (pools == {STICKY})


def test_a_range_is_cut_around_the_ports_that_go_before_it() -> None:
    host = ip_address("10.1.2.3")
    keys = {port: VipKey(host, Protocol.TCP, port) for port in (ANY_PORT, PortRange(10, 19), 15, 19)}
    assert [
        (str(ports.first), str(ports.last), key.port) for ports, key in cut_ports(list(keys.values()))
    ] == [
        ("1", "9", ANY_PORT),
        ("10", "14", PortRange(10, 19)),
        ("15", "15", 15),
        ("16", "18", PortRange(10, 19)),
        ("19", "19", 19),
        ("20", "65535", ANY_PORT),
    ]
