"""Sets are written only as far as they differ from those before; packets must not see what those were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lbnode.dataplane.errors import CapacityError
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import VipEntry
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendId, PoolName
from lbnode.model.vip import ANY_PORT
from tests.bpf import node_frames as frames
from tests.bpf.node_world import BACKENDS, BY_SOURCE_PREFIX, SMALL, VIP, VIPS, fill, make_model, mounted
from tests.bpf.test_node_packets import assert_agree

SETS = 8
MORE_VIPS = (
    *VIPS,
    VipEntry(BY_SOURCE_PREFIX[0], Protocol.UDP, ANY_PORT, PoolName("sticky")),
    VipEntry(BY_SOURCE_PREFIX[0], Protocol.TCP, 80, PoolName("web")),
)


@pytest.fixture
def node() -> Iterator[NodeDataPlane]:
    with mounted() as directory, NodeDataPlane.open(directory, SMALL) as opened:
        fill(opened)
        yield opened


def test_backends_are_those_of_the_last_set_whatever_was_before(node: NodeDataPlane) -> None:
    chance = random.Random(7)
    packets = chance.sample([*frames.proper()], 300)
    for _ in range(SETS):
        known = [
            replace(entry, agent=chance.random() < 0.5, ipv6=chance.choice([None, entry.ipv6]))
            if chance.random() < 0.5
            else entry
            for entry in BACKENDS
            if chance.random() < 0.8
        ]
        node.set_backends(known)
        assert sorted(node.backend_counters()) == sorted(entry.id for entry in known)
        assert_agree(node, replace(make_model(), backends=known), packets)


def test_vips_are_those_of_the_last_set_whatever_was_before(node: NodeDataPlane) -> None:
    chance = random.Random(8)
    packets = chance.sample([*frames.proper(), *frames.of_many()], 400)
    model = make_model()
    for _ in range(SETS):
        known = [
            replace(vip, pool=PoolName("sticky")) if chance.random() < 0.2 else vip
            for vip in chance.sample(MORE_VIPS, len(MORE_VIPS))
            if chance.random() < 0.8
        ]
        node.set_vips(known)
        assert set(node.vip_counters()) == {vip.key for vip in known}
        assert_agree(node, replace(model, vips=known), packets)


def test_a_refused_set_of_vips_takes_no_counters(node: NodeDataPlane) -> None:
    """Else they run out while a daemon tries again and again."""
    many = [replace(VIPS[0], address=VIP + number) for number in range(4097)]
    for _ in range(5):
        with pytest.raises(CapacityError, match="VIP_PLACES"):
            node.set_vips(many)
    node.set_vips(many[:4000])
    assert set(node.vip_counters()) == {vip.key for vip in many[:4000]}


def test_a_refused_set_of_backends_takes_no_counters(node: NodeDataPlane) -> None:
    many = [replace(BACKENDS[0], id=BackendId(number)) for number in range(1, 16400)]
    for _ in range(2):
        with pytest.raises(CapacityError, match="no counter left"):
            node.set_backends(many)
    node.set_backends(many[:16000])
    assert set(node.backend_counters()) == {entry.id for entry in many[:16000]}
