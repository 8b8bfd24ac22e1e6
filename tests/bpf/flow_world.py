"""A node with flow tables: backends with and without agent, UDP and TCP VIPs, tables whose every bucket is alike."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, ip_address

import numpy as np

from lbnode.dataplane.model import NodeModel
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, Limits, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from ring.bucket import derive_keys
from tests.bpf.node_world import LOOPBACK, NEAR, OWN_MAC, SECRET, SOURCES, install

DNS = PoolName("dns")
BY_SOURCE = PoolName("by-source")
MODES = {DNS: HashMode.FLOW, BY_SOURCE: HashMode.SOURCE}
SIZE = 101
LIMITS = Limits(table_places=8192, flows=1 << 12, new_flows=1 << 11)

VIP = IPv4Address("192.0.2.10")
BY_SOURCE_VIP = IPv4Address("192.0.2.20")
VIPS = (
    VipEntry(VIP, Protocol.UDP, 53, DNS),
    VipEntry(VIP, Protocol.TCP, 80, DNS),
    VipEntry(BY_SOURCE_VIP, Protocol.UDP, 53, BY_SOURCE),
    VipEntry(BY_SOURCE_VIP, Protocol.TCP, 80, BY_SOURCE),
)

WITH_AGENT = (1, 2, 3)
WITHOUT_AGENT = (11, 12, 13)
BACKENDS = tuple(
    BackendEntry.of(BackendId(n), n in WITH_AGENT, Tunnel(ip_address(f"10.1.0.{n}"), NEAR))
    for n in (*WITH_AGENT, *WITHOUT_AGENT)
)
SYN, ACK = 0x02, 0x10


def table(
    epoch: int,
    buckets: Sequence[Sequence[int]],
    pool: PoolName = DNS,
    flow_table: bool = True,
    failed: Iterable[int] = (),
) -> PoolTable:
    """Return a table whose bucket b is `buckets[b % len(buckets)]`: an owner and up to two alternates."""
    rows = np.zeros((SIZE, 3), dtype=np.uint16)
    for bucket in range(SIZE):
        chosen = buckets[bucket % len(buckets)]
        rows[bucket, : len(chosen)] = chosen
    return PoolTable(
        pool, EpochNumber(epoch), SIZE, MODES[pool], HashAlgorithm.MULTIPLY, derive_keys(SECRET, 9),
        rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy(), f"digest-{epoch}",
        flow_table, frozenset(map(BackendId, failed)),
    )  # fmt: skip


def make_model(*tables: PoolTable) -> NodeModel:
    """Return the model of a node whose traffic `tables` carry."""
    return NodeModel(tables, BACKENDS, VIPS, SOURCES, LOOPBACK, OWN_MAC)


def fill(node: NodeDataPlane, *tables: PoolTable) -> None:
    """Write backends and VIPs, and let `tables` carry the traffic."""
    install(make_model(*tables), node)


def datagrams(count: int, seed: int = 1, vip: IPv4Address = VIP) -> list[bytes]:
    """Return UDP packets, each of another flow."""
    return [_packet(Protocol.UDP, flow, vip, bytes(4)) for flow in _flows(count, seed, 53)]


def segments(count: int, flags: int, seed: int = 1) -> list[bytes]:
    """Return TCP packets of the flows that `seed` names: the same ones whatever the flags."""
    rest = struct.pack("!IIBBHHH", 1, 1, 0x50, flags, 512, 0, 0)
    return [_packet(Protocol.TCP, flow, VIP, rest) for flow in _flows(count, seed, 80)]


def _flows(count: int, seed: int, port: int) -> list[tuple[bytes, bytes]]:
    chance = random.Random(seed)
    return [
        (bytes([198, 18, *chance.randbytes(2)]), struct.pack("!HH", chance.randrange(1024, 65536), port))
        for _ in range(count)
    ]


def _packet(protocol: Protocol, flow: tuple[bytes, bytes], vip: IPv4Address, rest: bytes) -> bytes:
    size = 20 + 4 + len(rest)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0, 61, protocol, 0) + flow[0] + vip.packed
    return OWN_MAC + bytes(6) + b"\x08\x00" + ip + flow[1] + rest


def fragment(packet: bytes) -> bytes:
    """Return the packet as the first fragment of a longer one."""
    return packet[:20] + b"\x20\x00" + packet[22:]


def destinations(node: NodeDataPlane, packets: Iterable[bytes]) -> list[int]:
    """Send packets; return the ids of the backends that they go to, 0 for those dropped."""
    found = [node.program.test_run(packet).data for packet in packets]
    return [each[33] if each[23] == 47 else 0 for each in found]


def keys(node: NodeDataPlane, packets: Iterable[bytes]) -> list[tuple[int, ...]]:
    """Send packets; return the ids in their GRE keys."""
    found = [node.program.test_run(packet).data for packet in packets]
    return [struct.unpack_from("!HH", each, 38) if each[34] & 0x20 else () for each in found]
