"""QUIC packets that name a backend by their connection id, through the node's program and its model."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Packet, Raw

from lbnode.dataplane.model import NodeModel
from lbnode.dataplane.node import NodeDataPlane
from lbnode.model.ids import BackendId
from lbnode.quic import ConnectionIds
from tests.bpf.node_frames import frame
from tests.bpf.node_world import (
    BY_SOURCE_VIP,
    QUIC,
    QUIC_VIP,
    QUIC_VIP6,
    SMALL,
    UNKNOWN_BACKEND,
    fill,
    make_model,
    mounted,
)
from tests.bpf.test_node_packets import assert_agree

CLIENTS = [IPv4Address("198.51.100.1") + number for number in range(8)]
V1, V2, DRAFT = 1, 0x6B3343CF, 0xFF00001D
NAMES_FIRST = ConnectionIds(1, QUIC.config_id).mint()


@pytest.fixture(scope="module")
def node() -> Iterator[NodeDataPlane]:
    with mounted() as directory, NodeDataPlane.open(directory, SMALL) as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def model() -> NodeModel:
    return make_model()


def short(connection_id: bytes) -> bytes:
    """Return a packet with a short header (RFC 9000, §17.3)."""
    return b"\x40" + connection_id + b"protected"


def long(kind: int, connection_id: bytes, version: int = V1) -> bytes:
    """Return a packet with a long header: 0 Initial, 1 0-RTT, 2 Handshake, 3 Retry in version 1."""
    head = bytes([0xC0 | kind << 4]) + version.to_bytes(4, "big") + bytes([len(connection_id)])
    return head + connection_id + b"\x00protected"


def sent(payload: bytes, client: IPv4Address = CLIENTS[0], port: int = 5000) -> bytes:
    return frame(IP(src=str(client), dst=str(QUIC_VIP)) / UDP(sport=port, dport=443) / Raw(payload))


def backends(model: NodeModel, payload: bytes) -> set[BackendId | None]:
    """Return who gets the payload of clients at many addresses and ports."""
    return {
        model.process(sent(payload, client, port)).backend for client in CLIENTS for port in range(5000, 5010)
    }


@pytest.mark.parametrize("member", [1, 3, 65535])
def test_wherever_a_client_is_its_connection_reaches_the_backend_that_minted_the_id(
    node: NodeDataPlane, model: NodeModel, member: int
) -> None:
    payload = short(ConnectionIds(member, QUIC.config_id, length=20).mint())
    assert backends(model, payload) == {member}
    outcomes = assert_agree(node, model, [sent(payload, client) for client in CLIENTS])
    assert outcomes["flow_named"] == len(CLIENTS)
    assert outcomes["forwarded_keyed"] == 0


NOBODY = {
    "another configuration": short(ConnectionIds(1, QUIC.config_id - 1).mint()),
    "no member": short(ConnectionIds(2, QUIC.config_id).mint()),
    "unknown": short(ConnectionIds(UNKNOWN_BACKEND, QUIC.config_id).mint()),
    "0": short(bytes([QUIC.config_id << 5, 0, 0]) + bytes(5)),
    "unroutable": short(bytes([0xE7]) + NAMES_FIRST[1:]),
    "cut": short(NAMES_FIRST)[:3],
    "empty": b"",
    "Initial": long(0, NAMES_FIRST),
    "0-RTT": long(1, NAMES_FIRST),
    "Initial of version 2": long(1, NAMES_FIRST, V2),
    "0-RTT of version 2, the number of Handshake in version 1": long(2, NAMES_FIRST, V2),
    "an unknown version": long(2, NAMES_FIRST, DRAFT),
    "Handshake cut short": long(2, NAMES_FIRST)[: 6 + len(NAMES_FIRST) - 1],
    "Handshake with an id of two octets": long(2, NAMES_FIRST[:2]),
}


@pytest.mark.parametrize("payload", NOBODY.values(), ids=NOBODY.keys())
def test_packets_that_name_nobody_go_by_their_bucket(
    node: NodeDataPlane, model: NodeModel, payload: bytes
) -> None:
    assert len(backends(model, payload)) > 1
    assert assert_agree(node, model, [sent(payload, client) for client in CLIENTS])["flow_named"] == 0


@pytest.mark.parametrize(("kind", "version"), [(2, V1), (3, V2)])
def test_handshake_packets_bear_ids_of_the_server_alone(
    node: NodeDataPlane, model: NodeModel, kind: int, version: int
) -> None:
    payload = long(kind, NAMES_FIRST, version)
    assert backends(model, payload) == {1}
    assert assert_agree(node, model, [sent(payload)])["flow_named"] == 1


def test_a_member_that_cannot_be_reached_gets_its_packets_all_the_same_and_nobody_else_does(
    node: NodeDataPlane, model: NodeModel
) -> None:
    payload = short(ConnectionIds(5, QUIC.config_id).mint())
    outcomes = assert_agree(node, model, [sent(payload, client) for client in CLIENTS])
    assert outcomes["drop_no_next_hop"] == outcomes["flow_named"] == len(CLIENTS)


def around(payload: bytes) -> list[Packet]:
    """The payload in packets of every kind that a QUIC packet can come in, and in some that are none."""
    ip, ip6 = IP(src=str(CLIENTS[0]), dst=str(QUIC_VIP)), IPv6(src="2001:db8:c::1", dst=str(QUIC_VIP6))
    udp = UDP(sport=5000, dport=443) / Raw(payload)
    return [
        ip / udp,
        IP(src=str(CLIENTS[0]), dst=str(QUIC_VIP), options=[b"\x01" * 4]) / udp,
        ip6 / udp,
        ip6 / IPv6ExtHdrDestOpt() / udp,
        ip / TCP(sport=5000, dport=443, flags="A") / Raw(payload),
        IP(src=str(CLIENTS[0]), dst=str(BY_SOURCE_VIP)) / UDP(sport=5000, dport=53) / Raw(payload),
    ]


def test_kernel_and_model_agree_on_every_prefix_of_a_payload_in_every_kind_of_packet(
    node: NodeDataPlane, model: NodeModel
) -> None:
    for whole in (short(NAMES_FIRST), long(2, NAMES_FIRST), long(0, NAMES_FIRST)):
        frames = [frame(packet) for end in range(len(whole) + 1) for packet in around(whole[:end])]
        padded = [each + bytes(12) for each in frames]
        assert_agree(node, model, [*frames, *padded])
