"""Counting flows by bucket, and hearing listeners."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np
import pytest

from lbnode.backend import census
from lbnode.backend.plan import ServedVip
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.flows import FlowQuestion, FlowReport
from lbnode.model.ids import PoolName
from lbnode.model.vip import ANY_PORT, PortRange
from lbnode.netdev.sockets import Flows, Listener
from ring.bucket import Flow, bucket_of, derive_keys
from tests.unit.backend.fleets import B1, ID1, VIP, WEB, epoch, view

PORT = 80
OTHER = PoolName("other")
ANYWHERE = IPv4Address(0)
SERVED = ServedVip(VIP, Protocol.TCP, PORT, WEB)
UDP = ServedVip(VIP, Protocol.UDP, 53, WEB)
CLIENTS = [(IPv4Address("198.51.100.7"), port) for port in range(40000, 40300)]


def flows(port: int = PORT) -> Flows:
    """The flows of CLIENTS to the VIP, as the kernel tells them."""
    words = [np.frombuffer(client.packed.rjust(16, b"\0"), "<u4") for client, _ in CLIENTS]
    vip = np.frombuffer(VIP.packed.rjust(16, b"\0"), "<u4")
    ports = [client.to_bytes(2, "big") + port.to_bytes(2, "big") for _, client in CLIENTS]
    return Flows(
        np.array(words, np.uint32),
        np.array([vip] * len(CLIENTS), np.uint32),
        np.frombuffer(b"".join(ports), "<u4").astype(np.uint32),
    )


@pytest.mark.parametrize("mode", list(HashMode))
@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
def test_flows_are_counted_in_the_bucket_that_nodes_put_them_in(
    mode: HashMode, algorithm: HashAlgorithm
) -> None:
    seen = view(epoch(1, ID1))
    identity = seen.identity
    assert identity is not None
    pool = replace(epoch(1, ID1), hash_mode=mode, hash_algorithm=algorithm)
    keys = derive_keys(bytes.fromhex(identity.keys[1]), pool.seed)
    expected = np.zeros(pool.table_size, np.uint16)
    for client, port in CLIENTS:
        flow = Flow.between(client, port, VIP, PORT, Protocol.TCP)
        expected[bucket_of(keys, algorithm.value, mode.value, flow, pool.table_size)] += 1
    counts = census.count_buckets(pool, identity, [SERVED, UDP], flows())
    assert counts.tolist() == expected.tolist()
    report = FlowReport.of(B1, FlowQuestion(WEB, 1, pool.number), counts)
    assert (report.total, report.flows().tolist()) == (len(CLIENTS), expected.tolist())


def test_flows_to_other_ports_are_no_flows_of_the_pool() -> None:
    seen = view(epoch(1, ID1))
    assert seen.identity is not None
    assert census.count_buckets(epoch(1, ID1), seen.identity, [SERVED], flows(81)).sum() == 0
    assert census.totals([WEB], [SERVED], flows(81)) == {WEB: 0}


def test_totals_sum_over_the_vips_of_a_pool() -> None:
    other = replace(SERVED, port=81)
    assert census.totals([WEB], [SERVED, other], flows()) == {WEB: len(CLIENTS)}


@pytest.mark.parametrize(
    ("listener", "hears"),
    [
        (Listener(ip_address("0.0.0.0"), PORT), True),
        (Listener(IPv6Address("::"), PORT), True),
        (Listener(ip_address(str(VIP)), PORT), True),
        (Listener(ip_address("127.0.0.1"), PORT), False),
        (Listener(ip_address("0.0.0.0"), 8080), False),
    ],
)
def test_a_listener_on_the_vip_or_on_all_addresses_hears_it(listener: Listener, hears: bool) -> None:
    assert census.hearing([SERVED, UDP], [listener]) == (frozenset({SERVED}) if hears else frozenset())


def test_a_vip_of_many_ports_has_all_flows_but_those_that_another_goes_before_it_for() -> None:
    seen = view(epoch(1, ID1))
    assert seen.identity is not None
    whole = ServedVip(ip_network(f"{VIP}/24", strict=False), Protocol.TCP, ANY_PORT, WEB)
    some = ServedVip(VIP, Protocol.TCP, PortRange(80, 81), OTHER)
    for served, port, expected in (
        ([whole], 81, len(CLIENTS)),
        ([whole, some], 81, 0),
        ([whole, some], 82, len(CLIENTS)),
        ([some], 82, 0),
    ):
        counts = census.count_buckets(epoch(1, ID1), seen.identity, served, flows(port))
        assert counts.sum() == expected
        assert census.totals([WEB], served, flows(port)) == {WEB: expected}


@pytest.mark.parametrize(
    ("address", "port", "is_heard"),
    [(ANYWHERE, 8050, True), (VIP + 3, 8000, True), (ANYWHERE, 7999, False), (ip_address("10.0.0.1"), 8000, False)],
)  # fmt: skip
def test_a_vip_of_many_is_heard_when_anybody_listens_for_part_of_it(
    address: IPv4Address, port: int, is_heard: bool
) -> None:
    vip = ServedVip(ip_network(f"{VIP}/24", strict=False), Protocol.TCP, PortRange(8000, 8099), WEB)
    assert census.hearing([vip], [Listener(address, port)]) == (frozenset([vip]) if is_heard else frozenset())
