"""Fragments at nodes: all of a packet go where the whole would, and what cannot is dropped by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Packet, Raw

from lbnode.dataplane.node import NodeDataPlane
from tests.bpf.node_frames import frame
from tests.bpf.node_world import BY_SOURCE_VIP, NO_VIP, SIP_VIP, SMALL, VIP, VIP6, fill, make_model, mounted
from tests.bpf.test_node_packets import assert_agree

NET, NET6 = "198.51.100.", "2001:db8:c::"
CLIENTS = range(1, 41)
BODY = Raw(bytes(3000))


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[NodeDataPlane]]:
    """Three nodes of one fleet."""
    with (
        mounted() as one,
        mounted() as two,
        mounted() as three,
        NodeDataPlane.open(one, SMALL) as first,
        NodeDataPlane.open(two, SMALL) as second,
        NodeDataPlane.open(three, SMALL) as third,
    ):
        opened = [first, second, third]
        for node in opened:
            fill(node)
        yield opened


def whole(to: IPv4Address | IPv6Address, transport: Packet, identifier: int, client: int = 7) -> list[Packet]:
    """Return a packet of 3000 bytes and more in fragments."""
    if isinstance(to, IPv4Address):
        ip = IP(src=f"{NET}{client}", dst=str(to), id=identifier)
        return list(fragment(ip / transport / BODY, fragsize=1000))
    header = IPv6ExtHdrFragment(id=identifier)
    return list(fragment6(IPv6(src=f"{NET6}{client}", dst=str(to)) / header / transport / BODY, 1000))


def tunnel_end(node: NodeDataPlane, packet: bytes) -> bytes | None:
    """Return whom the node sends the packet to; None when it drops it."""
    run = node.program.test_run(packet)
    return run.data[30:34] if run.retval > 2 else None


@pytest.mark.parametrize("transport", [TCP(dport=80, flags="A"), UDP(dport=53)], ids=["TCP", "UDP"])
@pytest.mark.parametrize("to", [VIP, VIP6, BY_SOURCE_VIP], ids=str)
def test_fragments_reach_the_backend_of_their_flow_by_any_node(
    nodes: list[NodeDataPlane], to: IPv4Address | IPv6Address, transport: Packet
) -> None:
    served = 0
    for client in CLIENTS:
        transport.sport = 2000 + client
        is_ipv4 = isinstance(to, IPv4Address)
        ip = IP(src=f"{NET}{client}", dst=str(to)) if is_ipv4 else IPv6(src=f"{NET6}{client}", dst=str(to))
        backend = tunnel_end(nodes[0], frame(ip / transport / Raw(bytes(8))))
        for number, node in enumerate(nodes):
            pieces = whole(to, transport, 1000 * number, client)
            assert len(pieces) > 3
            assert {tunnel_end(node, frame(piece)) for piece in pieces} == {backend}
        served += backend is not None
    assert served > len(CLIENTS) // 2


def test_kernel_and_model_agree_on_fragments_in_any_order(nodes: list[NodeDataPlane]) -> None:
    packets = [
        piece
        for to in (VIP, VIP6, BY_SOURCE_VIP, SIP_VIP, NO_VIP)
        for transport in (TCP(dport=80, sport=7, flags="S"), UDP(dport=53, sport=8), UDP(dport=99, sport=9))
        for order in (1, -1)
        for piece in whole(to, transport, identifier=order & 0xFFFF)[::order]
    ]
    seen = assert_agree(nodes[0], make_model(), map(frame, packets))
    assert {"fragment_recorded", "fragment_followed", "drop_fragment", "pass_not_vip"} <= set(seen)


def test_a_later_fragment_before_the_first_is_dropped_by_name(nodes: list[NodeDataPlane]) -> None:
    _, second, *_ = whole(VIP, UDP(dport=53, sport=50), identifier=60000)
    before = nodes[0].counters()["drop_fragment"].packets
    assert tunnel_end(nodes[0], frame(second)) is None
    assert nodes[0].counters()["drop_fragment"].packets == before + 1


def test_a_first_fragment_that_hides_its_flags_is_dropped_by_name(nodes: list[NodeDataPlane]) -> None:
    tiny = IP(src=f"{NET}7", dst=str(VIP), id=60001, flags=1, proto=6) / Raw(struct.pack("!HHI", 2000, 80, 0))
    before = nodes[0].counters()["drop_fragment"].packets
    assert tunnel_end(nodes[0], frame(tiny)) is None
    assert nodes[0].counters()["drop_fragment"].packets == before + 1


def test_fragments_for_nobody_of_ours_leave_no_trace(nodes: list[NodeDataPlane]) -> None:
    before = nodes[0].counters()["fragment_recorded"].packets
    for piece in whole(NO_VIP, UDP(dport=53, sport=50), identifier=60002):
        assert nodes[0].program.test_run(frame(piece)).retval == 2
    assert nodes[0].counters()["fragment_recorded"].packets == before
