"""The MSS clamp and the tunnels' family: every mix of inner and outer header has the limit of design.md §4."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.libbpf import Program
from lbnode.model.ids import IPAddress
from lbnode.netdev import bpffs
from tests.bpf.decap_frames import IPV6, ethernet, ipv4, ipv6
from tests.bpf.decap_world import SELF, SELF6, SIX, VIP, VIP6, VIPS, WEB, table
from tests.bpf.test_decap_clamp import CLIENT, CLIENT6, LINUX, SYN_ACK, mss, passed, tcp

PATH_MTU = 1500
OVER_IPV4, OVER_IPV6, OF_NO_VIP = 80, 84, 99


@pytest.fixture(scope="module")
def clamp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The clamp of a backend with a pool of each family of tunnels, and VIPs of both families in either."""
    directory: Path = tmp_path_factory.mktemp("clamp") / "bpf"
    bpffs.mount(directory)
    try:
        with closing(BackendDataPlane.open(directory, [SELF, SELF6])) as plane:
            plane.load(table(WEB, 1))
            plane.load(replace(table(SIX, 4), tunnel=6))
            plane.set_vips([vip for vip in VIPS if vip.pool in (WEB, SIX)])
            with closing(plane.load_clamp(PATH_MTU)) as program:
                yield program
    finally:
        bpffs.unmount(directory)


def frame(vip: IPAddress, port: int, options: bytes) -> bytes:
    client = CLIENT if isinstance(vip, IPv4Address) else CLIENT6
    segment = tcp(vip.packed, client.packed, SYN_ACK, options, port=port)
    if isinstance(vip, IPv4Address):
        return ethernet(ipv4(CLIENT, 6, segment, source=vip))
    packet = ipv6(CLIENT6, 6, segment)
    return ethernet(packet[:8] + vip.packed + packet[24:], kind=IPV6)


@pytest.mark.parametrize(
    ("vip", "port", "limit"),
    [
        (VIP, OVER_IPV4, 1432),
        (VIP6, OVER_IPV4, 1412),
        (VIP, OVER_IPV6, 1412),
        (VIP6, OVER_IPV6, 1392),
        (VIP, OF_NO_VIP, 1432),
        (VIP6, OF_NO_VIP, 1412),
    ],
)
def test_each_mix_of_inner_and_outer_header_has_its_own_limit(
    clamp: Program, vip: IPAddress, port: int, limit: int
) -> None:
    assert passed(clamp, frame(vip, port, LINUX)) == frame(vip, port, mss(limit) + LINUX[4:])
    fits = frame(vip, port, mss(limit))
    assert passed(clamp, fits) == fits
