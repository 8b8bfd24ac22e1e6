from __future__ import annotations

from ipaddress import IPv4Address
from typing import TypedDict

import pytest

from lbnode.lab.errors import LabError
from lbnode.lab.plan import SEGMENTS, Plan, Role, Store, namespace_prefix


class Sizes(TypedDict, total=False):
    nodes: int
    backends: int
    clients: int


def test_hosts_are_named_and_numbered_by_role() -> None:
    plan = Plan("demo", nodes=2, backends=3, clients=1)

    assert [host.name for host in plan.hosts()] == ["zk", "client1", "b1", "b2", "b3", "n1", "n2"]
    assert plan.host("n2").address == IPv4Address("10.72.0.12")
    assert plan.host("n2").namespace == "ek-demo-n2"


def test_client_stands_for_the_first_client() -> None:
    assert Plan("demo", clients=2).host("client").name == "client1"


def test_a_growing_lab_keeps_the_addresses_that_it_has() -> None:
    before = {host.name: host.address for host in Plan("demo", nodes=3).hosts()}
    after = {host.name: host.address for host in Plan("demo", nodes=4).hosts()}

    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)


def test_without_zookeeper_there_is_no_host_for_it() -> None:
    assert not Plan("demo", store=Store.FILE).of(Role.STORE)


def test_an_unknown_host_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(LabError, match=r"no host 'n9': there are router, zk, client1, b1, n1"):
        Plan("demo", nodes=1, backends=1).namespace("n9")


@pytest.mark.parametrize("name", ["", "a-b", "Demo", "9lives", "a" * 17, "../etc", "a b"])
def test_a_name_that_could_be_mistaken_for_another_labs_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="a name is a letter"):
        Plan(name)


def test_no_labs_prefix_covers_another_labs_namespaces() -> None:
    assert not Plan("demo2").router.startswith(namespace_prefix("demo"))


@pytest.mark.parametrize("sizes", [{"nodes": 0}, {"backends": 0}, {"clients": 0}, {"nodes": 201}])
def test_sizes_that_cannot_be_built_are_refused(sizes: Sizes) -> None:
    with pytest.raises(LabError, match=r"is not in 1\.\.200"):
        Plan("demo", **sizes)


def test_the_largest_lab_fits_its_segments() -> None:
    for host in Plan("demo", nodes=200, backends=200, clients=200).hosts():
        assert host.address in host.segment.network
        assert host.address != host.segment.network.broadcast_address


def test_every_segment_has_a_mac_of_its_own_for_the_router() -> None:
    macs = {segment.mac for segment in SEGMENTS.values()}

    assert len(macs) == len(SEGMENTS)
    assert SEGMENTS[Role.NODE].mac == "02:ec:0a:48:00:01"
