"""GRE is taken from members only, and membership changes while the agent runs."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lbnode.model.ids import NodeName
from lbnode.model.members import NodeMember
from tests.integration.agent.machine import Backend
from tests.integration.agent.traffic import connect, exchange
from tests.integration.cable import eventually
from tests.integration.tunnel import Node

STRANGER = IPv4Address("10.0.0.66")


def test_a_stranger_is_dropped_until_the_fleet_takes_it_in(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    node.source = STRANGER
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.5)
    assert backend.status()["packets"]["drop_stranger"] > 0
    member = NodeMember(NodeName("n2"), (STRANGER,), 1)
    backend.in_store(lambda store: store.put_node(member))
    eventually("the new member is let in", lambda: str(STRANGER) in backend.log)
    with connect(backend.cable) as connection:
        exchange(connection)


def test_a_node_that_moves_is_a_stranger_at_its_old_address(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    member = NodeMember(NodeName("n1"), (STRANGER,), 1)
    backend.in_store(lambda store: store.put_node(member))
    eventually("the new address is let in", lambda: f"sources=['{STRANGER}']" in backend.log)
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.2)
    assert backend.status()["packets"]["drop_stranger"] > 0
    node.source = STRANGER
    with connect(backend.cable) as connection:
        exchange(connection)


def test_a_removed_member_is_a_stranger_again(backend: Backend, node: Node, server: None) -> None:
    backend.serve()
    backend.in_store(lambda store: store.remove_node(NodeName("n1")))
    eventually("the member is shut out", lambda: "sources=[]" in backend.log)
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.2)
