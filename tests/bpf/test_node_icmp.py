"""ICMP at the node: what is answered in a VIP's name, and errors that reach the backend whose flow they quote."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.model import Verdict
from lbnode.dataplane.node import NodeDataPlane
from lbnode.model.ids import IPAddress
from tests.bpf import icmp_frames as icmp
from tests.bpf import node_frames as frames
from tests.bpf.node_world import (
    BY_IPV6_VIP,
    BY_IPV6_VIP6,
    BY_SOURCE_VIP,
    BY_SOURCE_VIP6,
    NO_VIP,
    NO_VIP6,
    SIP_VIP,
    SIP_VIP6,
    SMALL,
    VIP,
    VIP6,
    fill,
    make_model,
    mounted,
)
from tests.bpf.test_node_packets import assert_agree

BURST = 64
FLOWS = 100
LARGEST, LARGEST_IN_IPV6 = 1472, 1452
"""What fits into a tunnel over 1500 bytes, IPv4 or IPv6 outside, the key counted."""
HEADER = {4: 20, 6: 40}
LARGEST_ERROR = {4: 576, 6: 1280}
BOTH = pytest.mark.parametrize("vip", [VIP, VIP6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def node() -> Iterator[NodeDataPlane]:
    with mounted() as directory, NodeDataPlane.open(directory, SMALL) as opened:
        fill(opened)
        yield opened


@pytest.fixture
def slow_node() -> Iterator[NodeDataPlane]:
    """A node that answers once a second, asked on one CPU: each has its own allowance."""
    limits = replace(SMALL, echoes_per_s=1, errors_per_s=1)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    with mounted() as directory, NodeDataPlane.open(directory, limits) as opened:
        fill(opened)
        yield opened
    os.sched_setaffinity(0, cpus)


def sent_back(node: NodeDataPlane, frame: bytes) -> Packet:
    """Return the answer to `frame`, every checksum of which must hold."""
    run = node.program.test_run(frame)
    assert Verdict(run.retval) is Verdict.TX
    answer = Ether(run.data)
    assert (answer.dst, answer.src) == (Ether(frame).src, Ether(frame).dst)
    assert summed(run.data) == run.data
    return answer.payload


def summed(frame: bytes) -> bytes:
    """Return the frame with its checksums computed anew."""
    again = Ether(frame)
    if IP in again:
        del again[IP].chksum, again[ICMP].chksum
    else:
        del again[IPv6].payload.cksum
    return bytes(again)


@BOTH
@pytest.mark.parametrize("size", [0, 1, 56, 1400])
@pytest.mark.parametrize("rest", [0, 4, 40])
def test_an_echo_request_to_a_vip_is_answered(
    node: NodeDataPlane, vip: IPAddress, size: int, rest: int
) -> None:
    payload = random.Random(size).randbytes(size)
    answer = sent_back(node, icmp.echo(vip, payload, rest=rest))
    assert (answer.src, answer.dst) == (str(vip), icmp.ASKER[vip.version])
    if vip.version == 4:
        assert (answer.ttl, answer.ihl, answer.id, answer.tos) == (64, 5, 77, 0xB8)
        assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 9, 1)
        assert bytes(answer[ICMP].payload) == payload
    else:
        assert (answer.hlim, answer.nh, answer.fl, answer.tc) == (64, 58, 77, 0xB8)
        assert (answer[ICMPv6EchoReply].id, answer[ICMPv6EchoReply].seq) == (9, 1)
        assert answer[ICMPv6EchoReply].data == payload


@BOTH
def test_an_echo_request_that_was_damaged_stays_so(node: NodeDataPlane, vip: IPAddress) -> None:
    request = bytearray(icmp.echo(vip))
    request[-1] ^= 1
    answer = node.program.test_run(bytes(request)).data
    assert summed(answer) != answer


@BOTH
def test_an_answer_leaves_by_the_vlan_that_the_question_came_by(node: NodeDataPlane, vip: IPAddress) -> None:
    plain, tags = icmp.echo(vip), bytes.fromhex("88a80007810060f0")
    answer = node.program.test_run(plain).data
    tagged = node.program.test_run(plain[:12] + tags + plain[12:]).data
    assert tagged == answer[:12] + tags + answer[12:]


@pytest.mark.parametrize("address", [NO_VIP, NO_VIP6])
def test_what_is_no_vip_of_ours_is_not_answered(node: NodeDataPlane, address: IPAddress) -> None:
    assert Verdict(node.program.test_run(icmp.echo(address)).retval) is Verdict.PASS


def test_fragments_and_broadcasts_of_echo_requests_are_not_answered(node: NodeDataPlane) -> None:
    node.set_interfaces({})
    for request, fragment in (
        (icmp.echo(VIP), icmp.echo(VIP)[:20] + b"\x20\x00" + icmp.echo(VIP)[22:]),
        (
            icmp.echo(VIP6),
            frames.frame(IPv6(dst=str(VIP6)) / IPv6ExtHdrFragment(m=1, nh=58) / Raw(bytes(64))),
        ),
    ):
        for frame in (b"\xff" * 6 + request[6:], fragment):
            assert Verdict(node.program.test_run(frame).retval) is Verdict.DROP
    fill(node)


@pytest.mark.parametrize("vip", [VIP, BY_SOURCE_VIP, SIP_VIP, VIP6, BY_SOURCE_VIP6, SIP_VIP6])
@pytest.mark.parametrize("quoted", [8, 44])
def test_an_error_goes_where_the_flow_goes_that_it_quotes(
    node: NodeDataPlane, vip: IPAddress, quoted: int
) -> None:
    chance = random.Random(5)
    model = make_model()
    for _ in range(FLOWS):
        client, port = icmp.client_of(vip.version, chance), chance.randrange(65536)
        head = (IP if vip.version == 4 else IPv6)(src=client, dst=str(vip))
        request = model.process(frames.frame(head / TCP(sport=port, dport=80, flags="A")))
        reply = icmp.sent(vip, TCP(sport=80, dport=port, flags="A"), client)
        found = node.program.test_run(icmp.error(vip, reply[: HEADER[vip.version] + quoted]))
        if request.backend is None:
            assert Verdict(found.retval) is Verdict.DROP
        else:
            assert outer(found.data) == outer(request.frame)


def outer(frame: bytes) -> tuple[bytes, ...]:
    """Ethernet, addresses and GRE with its key: all that says where a packet goes."""
    return frame[:14], frame[26:38], frame[38 : 42 if frame[34] & 0x20 else 38]


@pytest.mark.parametrize(
    ("vip", "room"),
    [
        (VIP, LARGEST),
        (VIP6, LARGEST),
        (BY_IPV6_VIP, LARGEST_IN_IPV6),
        (BY_IPV6_VIP6, LARGEST_IN_IPV6),
    ],
    ids=["4 in 4", "6 in 4", "4 in 6", "6 in 6"],
)
def test_a_packet_too_big_for_the_tunnel_is_answered_with_the_size_that_fits(
    node: NodeDataPlane, vip: IPAddress, room: int
) -> None:
    frame = large(node, vip, room + 1)
    answer = sent_back(node, frame)
    assert (answer.src, answer.dst) == (str(vip), icmp.CLIENT[vip.version])
    assert len(answer) == LARGEST_ERROR[vip.version]
    if vip.version == 4:
        assert (answer.ttl, answer.tos) == (64, 0xC0)
        assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, room)
    else:
        assert (answer.hlim, answer.tc) == (64, 0xC0)
        assert (answer[ICMPv6PacketTooBig].code, answer[ICMPv6PacketTooBig].mtu) == (0, room)
    quote = bytes(answer)[HEADER[vip.version] + 8 :]
    assert quote == frame[14 : 14 + len(quote)]


def large(node: NodeDataPlane, vip: IPAddress, size: int) -> bytes:
    """A packet for a backend whose next hop takes 1500 bytes."""
    model = make_model()
    head = (IP if vip.version == 4 else IPv6)(src=icmp.CLIENT[vip.version], dst=str(vip))
    for port in range(1024, 2048):
        tcp = TCP(sport=port, dport=80, flags="A")
        if model.process(frames.frame(head / tcp)).verdict is Verdict.TX:
            return frames.frame(head / tcp / Raw(bytes(size - len(head / tcp))))
    raise AssertionError("no flow goes by the near next hop")


def test_with_key_or_without_the_same_packets_fit(node: NodeDataPlane) -> None:
    model = make_model()
    sent = [(flow, model.process(flow)) for flow in frames.proper()]
    fitting = [(flow, room_of(result.frame)) for flow, result in sent if result.verdict is Verdict.TX]
    outcomes = assert_agree(node, model, [stretched(flow, room) for flow, room in fitting])
    assert set(outcomes) == {"forwarded", "forwarded_keyed"}
    outcomes = assert_agree(node, model, [stretched(flow, room + 1) for flow, room in fitting])
    assert set(outcomes) - {"drop_unanswerable"} == {"answered_too_big"}


def room_of(sent: bytes) -> int:
    return LARGEST if sent[14] >> 4 == 4 else LARGEST_IN_IPV6


def stretched(frame: bytes, size: int) -> bytes:
    """Return the frame with a packet of `size` bytes."""
    longer = bytes(14 + size - len(frame))
    if frame[14] >> 4 == 4:
        return frame[:16] + size.to_bytes(2, "big") + frame[18:] + longer
    return frame[:18] + (size - HEADER[6]).to_bytes(2, "big") + frame[20:] + longer


@BOTH
def test_answers_are_limited_echo_replies_and_errors_each(slow_node: NodeDataPlane, vip: IPAddress) -> None:
    echo, big = icmp.echo(vip), large(slow_node, vip, LARGEST + 1)
    for _ in range(BURST + 10):
        slow_node.program.test_run(echo)
        slow_node.program.test_run(big)
    counted = slow_node.counters()
    assert (counted["answered_echo"].packets, counted["drop_echo_limit"].packets) == (BURST, 10)
    assert (counted["answered_too_big"].packets, counted["drop_error_limit"].packets) == (BURST, 10)


def test_a_rate_of_zero_answers_nothing() -> None:
    limits = replace(SMALL, echoes_per_s=0, errors_per_s=0)
    with mounted() as directory, NodeDataPlane.open(directory, limits) as node:
        fill(node)
        silent = replace(make_model(), answers=False)
        outcomes = assert_agree(node, silent, [icmp.echo(VIP6), large(node, VIP, LARGEST + 1)])
    assert set(outcomes) == {"drop_echo_limit", "drop_error_limit"}


@pytest.mark.parametrize("rate", [-1, 2_000_000_000])
def test_a_rate_that_cannot_be_kept_is_refused(rate: int) -> None:
    echoes, errors = replace(SMALL, echoes_per_s=rate), replace(SMALL, errors_per_s=rate)
    for name, limits in (("echoes_per_s", echoes), ("errors_per_s", errors)):
        with mounted() as directory, pytest.raises(DataPlaneError, match=name):
            NodeDataPlane.open(directory, limits)
