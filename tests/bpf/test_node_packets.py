"""The node's program, through the real verifier and kernel, against its model: verdict, packet and counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.ipsec import AH

from lbnode.dataplane.model import NodeModel, Verdict
from lbnode.dataplane.node import NodeDataPlane
from tests.bpf import node_frames as frames
from tests.bpf.node_world import BY_SOURCE_VIP, SMALL, VIP, VIP6, VIPS, fill, make_model, mounted

UNREACHABLE_HERE = {
    "drop_no_headroom",
    "drop_inconsistent",
    "drop_echo_limit",
    "drop_error_limit",
}
"""BPF_PROG_TEST_RUN always gives headroom; the maps do not contradict each other; answers are without limit here."""
ELSEWHERE = {"flow_recorded", "flow_opened", "flow_kept", "fragment_followed"}
"""Met by the tests of flow tables and of fragments."""


@pytest.fixture(scope="module")
def node() -> Iterator[NodeDataPlane]:
    with mounted() as directory, NodeDataPlane.open(directory, SMALL) as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def model() -> NodeModel:
    return make_model()


def assert_agree(node: NodeDataPlane, model: NodeModel, given: Iterable[bytes]) -> Counter[str]:
    """Run every frame through both; return how often each outcome came."""
    outcomes: Counter[str] = Counter()
    before = {name: count.packets for name, count in node.counters().items()}
    for frame in given:
        expected = model.process(frame)
        found = node.program.test_run(frame)
        assert (Verdict(found.retval), found.data) == (expected.verdict, expected.frame), (
            f"{expected.outcome}: {frame.hex()}"
        )
        outcomes.update((expected.outcome, *expected.notes))
    counted = {name: count.packets - before[name] for name, count in node.counters().items()}
    assert Counter({name: count for name, count in counted.items() if count}) == outcomes
    return outcomes


def test_kernel_and_model_agree_on_proper_and_odd_frames_and_every_outcome_is_met(
    node: NodeDataPlane, model: NodeModel
) -> None:
    outcomes = assert_agree(node, model, [*frames.proper(), *frames.odd()])
    elsewhere = UNREACHABLE_HERE | ELSEWHERE | {"flow_named"}
    assert set(node.counters()) - set(outcomes) <= elsewhere | {
        "pass_malformed",
        "drop_truncated",
    }


def test_kernel_and_model_agree_on_vips_of_many_addresses_and_ports(
    node: NodeDataPlane, model: NodeModel
) -> None:
    outcomes = assert_agree(node, model, frames.of_many())
    served = {"forwarded", "forwarded_keyed"}
    assert served | {"drop_wrong_port", "pass_wrong_port", "drop_fragment", "answered_echo"} <= set(outcomes)


def test_kernel_and_model_agree_on_every_prefix_of_a_frame(node: NodeDataPlane, model: NodeModel) -> None:
    whole = [
        frame
        for address in (VIP, BY_SOURCE_VIP)
        for frame in (
            frames.frame(IP(src="198.51.100.1", dst=str(address)) / TCP(dport=80, flags="A")),
            frames.frame(IP(src="198.51.100.1", dst=str(address)) / UDP(dport=53)),
        )
    ]
    inside = IPv6ExtHdrHopByHop() / AH(icv=bytes(12)) / TCP(dport=80, flags="A")
    whole.append(frames.frame(IPv6(src="2001:db8:c::1", dst=str(VIP6)) / inside))
    outcomes = assert_agree(node, model, [prefix for frame in whole for prefix in frames.truncated(frame)])
    assert outcomes["drop_truncated"] > 0
    assert outcomes["pass_malformed"] > 0


def test_kernel_and_model_agree_on_mutated_frames(node: NodeDataPlane, model: NodeModel) -> None:
    outcomes = assert_agree(node, model, frames.mutated([*frames.proper(), *frames.odd()], 6000))
    assert len(outcomes) >= 12


def test_kernel_and_model_agree_on_random_frames(node: NodeDataPlane, model: NodeModel) -> None:
    outcomes = assert_agree(node, model, frames.noise(2000))
    assert outcomes["pass_not_ip"] > 0


def test_a_length_that_ends_inside_the_transport_header_is_truncated_even_when_the_frame_is_longer(
    node: NodeDataPlane, model: NodeModel
) -> None:
    whole = frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(dport=80, flags="A"))
    lengths = [whole[:16] + size.to_bytes(2, "big") + whole[18:] for size in range(20, 41)]
    assert assert_agree(node, model, lengths)["drop_truncated"] == 20


def test_vip_and_backend_counters_sum_up_what_was_forwarded(node: NodeDataPlane, model: NodeModel) -> None:
    vips_before, backends_before = node.vip_counters(), node.backend_counters()
    sent = [frame for frame in frames.proper() if model.process(frame).backend]
    assert_agree(node, model, sent)
    by_backend = Counter(model.process(frame).backend for frame in sent)
    vips, backends = node.vip_counters(), node.backend_counters()
    assert set(vips) == {(vip.address, vip.protocol, vip.port) for vip in VIPS}
    assert sum(vips[key].packets - vips_before[key].packets for key in vips) == len(sent)
    assert sum(vips[key].bytes - vips_before[key].bytes for key in vips) == sum(map(len, sent))
    for number, count in backends.items():
        assert count.packets - backends_before[number].packets == by_backend[number]


def test_a_pool_has_counted_what_its_vips_have(node: NodeDataPlane, model: NodeModel) -> None:
    assert_agree(node, model, frames.proper())
    vips, pools = node.vip_counters(), node.pool_counters()
    for pool in {vip.pool for vip in VIPS}:
        counts = [vips[vip.key] for vip in VIPS if vip.pool == pool]
        assert pools[pool] == (sum(each.packets for each in counts), sum(each.bytes for each in counts))
    assert sum(count.packets for count in pools.values()) > 0
