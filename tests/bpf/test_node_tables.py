"""Tables, VIPs and backends in the kernel: staged unseen, switched at once, refused when they do not fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP

from lbnode.dataplane.errors import CapacityError, DataPlaneError
from lbnode.dataplane.inspection import Inspection
from lbnode.dataplane.model import NodeModel
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import (
    BackendEntry,
    Limits,
    LoadedTable,
    NextHop,
    PoolTable,
    PoolTables,
    Tunnel,
    VipEntry,
)
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.model.tunnel import IPVersion
from ring.bucket import derive_keys
from tests.bpf import node_frames as frames
from tests.bpf.node_world import FAR, NEAR, SECRET, SOURCES, VIP, make_table, mounted

WEB = PoolName("web")
BACKENDS = 50
SIZE = 101
LARGE_SIZE = 655_373
ROOM_FOR_THREE = Limits(table_places=8 + 3 * 104)
WEB_VIP = VipEntry(VIP, Protocol.TCP, 80, WEB)
FRAME = frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(dport=80, flags="A"))


@pytest.fixture
def pins() -> Iterator[Path]:
    with mounted() as directory:
        yield directory


@pytest.fixture
def node(pins: Path) -> Iterator[NodeDataPlane]:
    with NodeDataPlane.open(pins, ROOM_FOR_THREE) as opened:
        opened.set_source(SOURCES[:1])
        opened.set_backends(backends())
        yield opened


def backends(hop: NextHop = NEAR) -> list[BackendEntry]:
    return [
        BackendEntry.of(BackendId(n), True, Tunnel(IPv4Address("10.1.0.0") + n, hop))
        for n in range(1, BACKENDS + 3)
    ]


def uniform(epoch: int, pool: str = WEB) -> PoolTable:
    """A table whose every bucket says its epoch: the owner and both alternates follow from the number."""
    owner = epoch % BACKENDS + 1
    owners, first, second = (np.full(SIZE, owner + step, dtype=np.uint16) for step in range(3))
    return PoolTable(
        PoolName(pool), EpochNumber(epoch), SIZE, HashMode.FLOW, HashAlgorithm.MULTIPLY, derive_keys(SECRET, 1),
        owners, first, second, f"digest-{epoch}",
    )  # fmt: skip


def seen(node: NodeDataPlane, frame: bytes = FRAME) -> tuple[int, int, int, int]:
    """Send a frame; return (stamp, owner, first, second) as the outer header says."""
    run = node.program.test_run(frame)
    words = [int.from_bytes(run.data[at : at + 2], "big") for at in (18, 32, 38, 40)]
    return words[0], words[1], words[2], words[3]


def expected(epoch: int) -> tuple[int, int, int, int]:
    owner = epoch % BACKENDS + 1
    return epoch & 0xFFFF, owner, owner + 1, owner + 2


def test_a_staged_table_is_not_seen_until_it_is_switched(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    node.stage(uniform(2))
    assert seen(node) == expected(1)
    assert node.tables() == {
        WEB: PoolTables(
            LoadedTable(EpochNumber(1), SIZE, "digest-1"), LoadedTable(EpochNumber(2), SIZE, "digest-2")
        )
    }
    node.switch(WEB)
    assert seen(node) == expected(2)
    assert node.tables() == {WEB: PoolTables(LoadedTable(EpochNumber(2), SIZE, "digest-2"), None)}


def test_a_table_staged_again_replaces_the_one_before(node: NodeDataPlane) -> None:
    for epoch in (1, 2, 3):
        node.stage(uniform(epoch))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    assert seen(node) == expected(3)


def test_the_stamp_is_the_low_half_of_a_large_epoch(node: NodeDataPlane) -> None:
    node.stage(uniform(0x1_0002_0003))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    assert seen(node)[0] == 0x0003
    current = node.tables()[WEB].current
    assert current is not None
    assert current.epoch == 0x1_0002_0003


def test_no_packet_sees_parts_of_two_tables_while_epochs_follow_one_another(node: NodeDataPlane) -> None:
    """Room for three tables: places are written again and again, behind a grace period."""
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    wrong: list[tuple[int, ...]] = []
    stamps: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            found = seen(node)
            stamps.add(found[0])
            if found != expected(found[0]):
                wrong.append(found)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for epoch in range(2, 120):
        node.stage(uniform(epoch))
        node.switch(WEB)
    done.set()
    watcher.join()
    assert wrong == []
    assert len(stamps) > 20
    assert seen(node) == expected(119)


def test_a_changed_set_of_vips_holds_at_once_and_keeps_counters(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    seen(node)
    others = [VipEntry(VIP + n, Protocol.TCP, 80, WEB) for n in range(1, 200)]
    node.set_vips([*others, WEB_VIP])
    assert seen(node) == expected(1)
    assert node.vip_counters()[WEB_VIP.key].packets == 2
    node.set_vips(others)
    assert node.program.test_run(FRAME).data == FRAME
    assert node.counters()["pass_not_vip"].packets == 1


def test_a_new_vip_in_an_old_row_counts_from_zero(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    for n in range(5):
        vip = VipEntry(VIP, Protocol.TCP, 80 + n, WEB)
        node.set_vips([vip])
        assert node.vip_counters() == {vip.key: (0, 0)}
        seen(node, frames.frame(IP(dst=str(VIP)) / TCP(dport=80 + n, flags="A")))
        assert node.vip_counters()[vip.key].packets == 1


def test_a_backend_that_moves_is_reached_by_its_new_next_hop_and_keeps_its_counter(
    node: NodeDataPlane,
) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    owner = BackendId(expected(1)[1])
    seen(node)
    for hop in (FAR, NEAR, FAR):
        node.set_backends(backends(hop))
        assert node.program.test_run(FRAME).data[:12] == hop.destination_mac + hop.source_mac
    assert node.backend_counters()[owner].packets == 4
    node.set_backends([entry for entry in backends() if entry.id != owner])
    node.program.test_run(FRAME)
    assert node.counters()["drop_no_backend"].packets == 1
    assert owner not in node.backend_counters()


def test_next_hops_change_again_and_again_behind_grace_periods(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    for n in range(40):
        hop = replace(NEAR, destination_mac=bytes([2, 0, 0, 0, 0, n]))
        node.set_backends(backends(hop))
        assert node.program.test_run(FRAME).data[:6] == hop.destination_mac


def test_vips_follow_a_pool_that_is_staged_anew_before_its_first_switch(node: NodeDataPlane) -> None:
    """They hold copies of its keys and size."""
    node.stage(make_table("web", size=SIZE))
    node.set_vips([WEB_VIP])
    table = replace(make_table("web", epoch=3, size=2 * SIZE), keys=derive_keys(SECRET, 99))
    node.stage(table)
    node.switch(WEB)
    model = NodeModel([table], backends(), [WEB_VIP], SOURCES[:1])
    for port in range(200):
        frame = frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(sport=port, dport=80))
        assert node.program.test_run(frame).data == model.process(frame).frame


def test_outer_sources_are_spread_over_the_buckets(node: NodeDataPlane) -> None:
    node.stage(make_table("web", size=SIZE))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    addresses = [IPv4Address("10.255.0.0") + n for n in range(3)]
    node.set_source(addresses)
    found = set()
    for port in range(400):
        run = node.program.test_run(
            frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(sport=port, dport=80))
        )
        if run.retval > 2:
            found.add(IPv4Address(run.data[26:30]))
    assert found == set(addresses)


IPV6_TYPE = b"\x86\xdd"


def by_both_families(node: NodeDataPlane, tunnel: IPVersion) -> None:
    """Let the VIP have one backend, with a tunnel of each family, and a pool that takes one of them."""
    tunnels = [Tunnel(ip_address(each), NEAR) for each in ("10.1.0.2", "2001:db8:1::2")]
    node.set_backends([BackendEntry.of(BackendId(2), True, *tunnels)])
    node.stage(replace(uniform(1), tunnel=tunnel))
    node.switch(WEB)
    node.set_vips([WEB_VIP])


def test_tunnels_of_a_family_wait_for_a_source_of_it(node: NodeDataPlane) -> None:
    by_both_families(node, tunnel=6)
    node.program.test_run(FRAME)
    assert node.counters()["drop_no_next_hop"].packets == 1
    node.set_source(SOURCES)
    assert node.program.test_run(FRAME).data[12:14] == IPV6_TYPE
    node.set_source(SOURCES[:1])
    node.program.test_run(FRAME)
    assert node.counters()["drop_no_next_hop"].packets == 2


def test_a_pool_changes_the_family_of_its_tunnels_with_its_table(node: NodeDataPlane) -> None:
    node.set_source(SOURCES)
    by_both_families(node, tunnel=4)
    node.stage(replace(uniform(1), epoch=EpochNumber(72), tunnel=6))
    assert node.program.test_run(FRAME).data[12:14] == b"\x08\x00"
    node.switch(WEB)
    run = node.program.test_run(FRAME)
    assert run.data[12:14] == IPV6_TYPE
    assert int.from_bytes(run.data[16:18], "big") == 72


def test_a_dropped_pool_leaves_room_for_others(node: NodeDataPlane) -> None:
    for n in range(6):
        name = f"pool{n}"
        node.stage(uniform(1, name))
        node.switch(PoolName(name))
        node.stage(uniform(2, name))
        node.drop_pool(PoolName(name))
    assert node.tables() == {}
    with pytest.raises(DataPlaneError, match="stage one first"):
        node.switch(PoolName("pool1"))


def test_a_pool_is_not_dropped_while_vips_point_at_it(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    with pytest.raises(DataPlaneError, match="take them away first"):
        node.drop_pool(WEB)
    assert seen(node) == expected(1)
    node.set_vips([])
    node.drop_pool(WEB)
    assert node.program.test_run(FRAME).data == FRAME


def test_a_full_map_names_the_setting_and_changes_nothing(node: NodeDataPlane) -> None:
    for name in ("a", "b", "c"):
        node.stage(uniform(1, name))
    with pytest.raises(CapacityError, match="raise table_places"):
        node.stage(uniform(1, "d"))
    assert {pool for pool, tables in node.tables().items() if tables.staged} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(uniform(2), size=SIZE + 1), "arrays of"),
        (replace(uniform(2), epoch=EpochNumber(0)), "numbers start at 1"),
        (uniform(2, "x" * 65), "1 to 64 bytes"),
        (replace(uniform(2), mode=HashMode.SOURCE), "fixed for a pool's life"),
        (replace(uniform(2), keys=derive_keys(SECRET, 2)), "fixed for a pool's life"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(node: NodeDataPlane, wrong: PoolTable, message: str) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    with pytest.raises(DataPlaneError, match=message):
        node.stage(wrong)
    assert node.tables() == {WEB: PoolTables(LoadedTable(EpochNumber(1), SIZE, "digest-1"), None)}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([WEB_VIP, WEB_VIP], "given twice"),
        ([replace(WEB_VIP, port=0)], "ports are 1 to 65535"),
        ([replace(WEB_VIP, pool=PoolName("none"))], "stage one first"),
        ([replace(WEB_VIP, address=VIP + n) for n in range(4097)], "VIP_PLACES"),
    ],
)
def test_vips_that_do_not_fit_are_refused_and_change_nothing(
    node: NodeDataPlane, entries: list[VipEntry], message: str
) -> None:
    node.stage(uniform(1))
    node.switch(WEB)
    node.set_vips([WEB_VIP])
    with pytest.raises(DataPlaneError, match=message):
        node.set_vips(entries)
    assert seen(node) == expected(1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (BackendEntry.of(BackendId(0), True, Tunnel(VIP, None)), "ids are 1 to 65535"),
        (
            BackendEntry(BackendId(99), True, ipv4=Tunnel(IPv6Address("::1"), None)),
            "::1: no address for its IPv4",
        ),
        (BackendEntry(BackendId(99), True, ipv6=Tunnel(VIP, None)), "no address for its IPv6 tunnel"),
        (BackendEntry.of(BackendId(2), True, Tunnel(VIP, None)), "given twice"),
    ],
)
def test_backends_that_do_not_fit_are_refused(node: NodeDataPlane, entry: BackendEntry, message: str) -> None:
    with pytest.raises(DataPlaneError, match=message):
        node.set_backends([*backends(), entry])
    assert set(node.backend_counters()) == {each.id for each in backends()}


def test_a_table_larger_than_a_row_serves_its_buckets_and_is_found_again(pins: Path) -> None:
    owners = np.random.default_rng(1).integers(1, BACKENDS, LARGE_SIZE).astype(np.uint16)
    table = replace(uniform(1), size=LARGE_SIZE, owners=owners, first=owners * 0, second=owners * 0)
    packets = [
        frames.frame(IP(src="198.51.100.1", dst=str(VIP)) / TCP(sport=port, dport=80)) for port in range(400)
    ]
    limits = Limits(table_places=2 * LARGE_SIZE + 100)
    with NodeDataPlane.open(pins, limits) as node:
        node.set_source(SOURCES[:1])
        node.set_backends(backends())
        for epoch in (1, 2):
            node.stage(replace(table, epoch=EpochNumber(epoch)))
            node.switch(WEB)
        node.set_vips([WEB_VIP])
    model = NodeModel([replace(table, epoch=EpochNumber(2))], backends(), [WEB_VIP], SOURCES[:1])
    with NodeDataPlane.open(pins, limits) as adopted:
        assert adopted.tables()[WEB].current == LoadedTable(EpochNumber(2), LARGE_SIZE, "digest-1")
        for packet in packets:
            assert adopted.program.test_run(packet).data == model.process(packet).frame
        adopted.stage(replace(table, epoch=EpochNumber(3)))


def test_buckets_are_counted_when_asked_for(pins: Path) -> None:
    with NodeDataPlane.open(pins, Limits(table_places=8192, count_buckets=True)) as node:
        node.set_source(SOURCES)
        node.set_backends(backends())
        for pool in ("other", WEB):
            node.stage(uniform(1, pool))
            node.switch(PoolName(pool))
        node.set_vips([WEB_VIP])
        for _ in range(3):
            seen(node)
        node.stage(uniform(2))
        node.switch(WEB)
        seen(node)
        counted = node.bucket_packets(WEB)
        assert sorted(counted)[-2:] == [0, 4]
        assert not node.bucket_packets(PoolName("other")).any()
        assert (Inspection.open(pins).bucket_packets(WEB) == counted).all()


def test_bucket_counters_that_are_off_are_named(node: NodeDataPlane) -> None:
    node.stage(uniform(1))
    with pytest.raises(DataPlaneError, match="set count_buckets"):
        node.bucket_packets(WEB)
