"""What `make bench` measures is what it says: the driver's packets, forwarded as the model says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import Limits
from tests.bench.clock import Driver, Traffic
from tests.bench.fleet import Fleet, make_fleet
from tests.bench.packets import TRAFFIC, check, filled


@pytest.fixture(scope="module")
def driver() -> Driver:
    return Driver()


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return make_fleet()


@pytest.fixture(scope="module")
def node(fleet: Fleet) -> Iterator[NodeDataPlane]:
    with filled(fleet, Limits()) as filled_node:
        yield filled_node


@pytest.mark.parametrize("traffic", TRAFFIC, ids=lambda traffic: traffic.name)
def test_measured_packets_are_forwarded_as_the_model_says(
    driver: Driver, node: NodeDataPlane, fleet: Fleet, traffic: Traffic
) -> None:
    driver.set_traffic(traffic)
    check(driver, node, fleet, traffic)


def test_a_program_that_leaves_packets_as_they_are_is_not_measured(
    driver: Driver, node: NodeDataPlane
) -> None:
    driver.set_traffic(Traffic("not for us", bytes(64), 1, 1))
    with pytest.raises(AssertionError, match="node changed the length of 0 of 100 packets"):
        driver.run(node.program, 100)
