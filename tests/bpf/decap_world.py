"""A backend with peers of every kind: its model, and the same written into a real one's maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import numpy as np

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.backend_layout import MemberKind
from lbnode.dataplane.backend_model import BackendModel
from lbnode.dataplane.values import BackendEntry, NextHop, PoolTable, QuicRouting, Tunnel, VipEntry
from lbnode.model.epoch import stamp_of
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, IPAddress, PoolName
from lbnode.model.intake import Intake
from lbnode.netdev import bpffs
from ring.bucket import derive_keys
from tests.bpf.decap_frames import IPV6, TCP, Wrapping, ipv4, ports

SELF = IPv4Address("10.0.0.2")
NODE = IPv4Address("10.0.0.1")
PEER = IPv4Address("10.0.0.8")
STRANGER = IPv4Address("10.0.0.66")
SELF6 = IPv6Address("2001:db8:f::2")
NODE6 = IPv6Address("2001:db8:f::1")
PEER6 = IPv6Address("2001:db8:f::8")
STRANGER6 = IPv6Address("2001:db8:f::66")
VIP = IPv4Address("192.0.2.80")
VIP6 = IPv6Address("2001:db8::80")
EPOCH = 0x1BEEF
STAMP = stamp_of(EpochNumber(EPOCH))
LOOPBACK, ELSEWHERE = 1, 77
SIZE = 251

ME, AGENT, FAR_AGENT, NO_AGENT, LOST, SMALL_MTU = map(BackendId, (7, 8, 9, 10, 11, 12))
UNKNOWN = BackendId(999)
WEB, GONE, SILENT, SIX, QUIC = map(PoolName, ("web", "gone", "silent", "six", "quic"))
"""The pool `six` goes by IPv6 tunnels."""


def _hop(ifindex: int, mtu: int = 1600) -> NextHop:
    return NextHop(ifindex, bytes.fromhex("020000000002"), bytes.fromhex(f"0200000000{ifindex:02x}"), mtu)


PEERS = {
    entry.id: entry
    for entry in (
        BackendEntry.of(AGENT, True, Tunnel(PEER, _hop(LOOPBACK)), Tunnel(PEER6, _hop(ELSEWHERE))),
        BackendEntry.of(
            FAR_AGENT,
            True,
            Tunnel(ip_address("10.9.0.9"), _hop(ELSEWHERE)),
            Tunnel(ip_address("2001:db8:f::9"), _hop(LOOPBACK, 110)),
        ),
        BackendEntry.of(NO_AGENT, False, Tunnel(ip_address("10.0.0.10"), _hop(LOOPBACK))),
        BackendEntry.of(LOST, True, Tunnel(ip_address("10.0.0.11"), None)),
        BackendEntry.of(SMALL_MTU, True, Tunnel(ip_address("10.0.0.12"), _hop(LOOPBACK, 80))),
    )
}
WEB_VIP = VipEntry(VIP, Protocol.TCP, 80, WEB)
WEB6_VIP = VipEntry(VIP6, Protocol.TCP, 80, WEB)
UDP6_VIP = VipEntry(VIP6, Protocol.UDP, 53, WEB)
UDP_VIP = VipEntry(VIP, Protocol.UDP, 53, WEB)
GONE_VIP = VipEntry(VIP, Protocol.TCP, 82, GONE)
SILENT_VIP = VipEntry(VIP, Protocol.TCP, 81, SILENT)
SIX_VIP = VipEntry(VIP, Protocol.TCP, 84, SIX)
SIX6_VIP = VipEntry(VIP6, Protocol.TCP, 84, SIX)
QUIC_VIP = VipEntry(VIP, Protocol.UDP, 443, QUIC)
ROUTING = QuicRouting(2, frozenset((ME, AGENT, FAR_AGENT, NO_AGENT, LOST)))
VIPS = (QUIC_VIP, WEB_VIP, WEB6_VIP, UDP_VIP, UDP6_VIP, GONE_VIP, SILENT_VIP, SIX_VIP, SIX6_VIP)


def table(pool: PoolName, seed: int, algorithm: HashAlgorithm = HashAlgorithm.MULTIPLY) -> PoolTable:
    """A table in which every bucket lists any three of the backends, or none."""
    chance = np.random.default_rng(seed)
    ids = np.array([0, ME, AGENT, FAR_AGENT, NO_AGENT, LOST, SMALL_MTU, UNKNOWN], dtype=np.uint16)
    owners, first, second = (chance.choice(ids, SIZE) for _ in range(3))
    keys = derive_keys(bytes(range(32)), seed)
    mode = HashMode.FLOW
    return PoolTable(pool, EpochNumber(EPOCH), SIZE, mode, algorithm, keys, owners, first, second, "")


def model(second_chance: bool = True, self_id: BackendId = ME) -> BackendModel:
    """The backend that all tests speak of."""
    sources: dict[IPAddress, MemberKind] = {
        NODE: MemberKind.NODE,
        PEER: MemberKind.BACKEND,
        NODE6: MemberKind.NODE,
        PEER6: MemberKind.BACKEND,
    }
    tables = {pool: table(pool, seed) for seed, pool in enumerate((WEB, SILENT), 1)}
    tables[GONE] = table(GONE, 3, HashAlgorithm.SIPHASH)
    tables[SIX] = replace(table(SIX, 4), tunnel=6)
    tables[QUIC] = replace(table(QUIC, 5), quic=ROUTING)
    heard = (WEB_VIP, WEB6_VIP, GONE_VIP, SIX_VIP, SIX6_VIP)
    return BackendModel(
        (SELF, SELF6),
        self_id,
        sources,
        tables,
        PEERS,
        VIPS,
        heard,
        {WEB: Intake.ONE_BEHIND, SILENT: Intake.ONE_BEHIND, SIX: Intake.IN_STEP},
        second_chance,
        LOOPBACK,
    )


def fill(plane: BackendDataPlane, wanted: BackendModel) -> None:
    """Write all that the model knows into the kernel, as the agent does."""
    plane.set_self(wanted.self_id)
    plane.set_sources(wanted.sources)
    plane.set_backends(list(wanted.peers.values()))
    for each in wanted.tables.values():
        plane.load(each)
    plane.set_vips(wanted.vips, [vip.key for vip in wanted.heard])
    plane.set_intake(wanted.intake)


@contextmanager
def backend_of(wanted: BackendModel, directory: Path) -> Iterator[BackendDataPlane]:
    """A data plane, attached nowhere, that holds what the model does."""
    bpffs.mount(directory)
    try:
        with closing(BackendDataPlane.open(directory, wanted.own, wanted.second_chance)) as plane:
            fill(plane, wanted)
            yield plane
    finally:
        bpffs.unmount(directory)


def without_second_chance() -> BackendModel:
    """The same backend with the second chance turned off."""
    return replace(model(), second_chance=False)


WORLD = model()
WRAP = Wrapping(NODE, SELF, stamp=STAMP)
OLD = replace(WRAP, stamp=STAMP - 2)
WRAP6 = replace(WRAP, protocol=IPV6)
INNER = ipv4(VIP, TCP, ports(80))


def asking(first: int, second: int = 0, wrap: Wrapping = WRAP, inner: bytes = INNER) -> bytes:
    """A packet that names whom to ask next."""
    return replace(wrap, key=first << 16 | second).frame(inner)
