"""Client, node and backend on one bridge; the backend has no agent, but the kernel's own gre devices."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lbnode.dataplane.node import OBJECT, NodeDataPlane
from lbnode.dataplane.values import BackendEntry, Limits, NextHop, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, IPAddress, PoolName
from lbnode.model.tunnel import IPVersion
from lbnode.netdev import bpffs
from ring.bucket import derive_keys
from tests.integration.cable import inside, ip, ip_json

HOSTS = {"client": 1, "node": 2, "backend": 3}
VIPS: dict[IPVersion, IPAddress] = {4: ip_address("192.0.2.10"), 6: ip_address("2001:db8:5::10")}
PORTS: dict[IPVersion, int] = {4: 84, 6: 86}
"""By the family of the tunnel: each has a pool of its own."""
DEVICES: dict[IPVersion, str] = {4: "gre0", 6: "ip6gre0"}
"""The kernel's fallback devices: they take GRE without a key from anybody."""
MTU = {"client": 1500, "node": 1600, "backend": 1600}
"""Full segments of the client fit beneath any outer header."""
SIZE = 257


@dataclass(slots=True)
class World:
    """What the tests look at."""

    node: NodeDataPlane

    def received(self, family: IPVersion) -> int:
        """Return how many packets the backend's gre device of that family has taken."""
        shown = ip_json("-n", "backend", "-s", "link", "show", "dev", DEVICES[family])
        return int(shown[0]["stats64"]["rx"]["packets"])


@contextmanager
def laid() -> Iterator[World]:
    """Lay all of it, attach the node; take everything away at the end."""
    with ExitStack() as stack:
        _lay_bridge(stack)
        for host in HOSTS:
            _lay_host(stack, host)
        _prepare_client()
        _prepare_backend()
        pins = Path(stack.enter_context(TemporaryDirectory(prefix="evenkeel-gre-")))
        bpffs.mount(pins)
        stack.callback(bpffs.unmount, pins)
        node = stack.enter_context(NodeDataPlane.open(pins, Limits(table_places=8192)))
        _fill(node)
        mode = inside("node", lambda: node.attach("eth0", "native")).mode
        assert mode == "native"
        yield World(node)


def address(host: str, family: IPVersion) -> IPAddress:
    """Return a host's address on the bridge."""
    return ip_address(f"10.0.0.{HOSTS[host]}" if family == 4 else f"2001:db8:1::{HOSTS[host]}")


def _lay_bridge(stack: ExitStack) -> None:
    ip("link", "add", "wire", "mtu", str(max(MTU.values())), "type", "bridge", "mcast_snooping", "0")
    stack.callback(ip, "link", "del", "wire")
    ip("link", "set", "wire", "up")


def _lay_host(stack: ExitStack, host: str) -> None:
    ip("netns", "add", host)
    stack.callback(ip, "netns", "del", host)
    ip("link", "add", host, "mtu", str(MTU[host]), "type", "veth", "peer", "name", "eth0", "netns", host)
    ip("link", "set", host, "xdpdrv", "obj", str(OBJECT.parent / "pass.bpf.o"), "sec", "xdp")
    ip("link", "set", host, "master", "wire", "up")
    inside(host, lambda: _run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "gro", "off"))
    _set(host, {"net/ipv6/conf/all/accept_dad": 0, "net/ipv6/conf/default/accept_dad": 0})
    ip("-n", host, "addr", "add", f"{address(host, 4)}/24", "dev", "eth0")
    ip("-n", host, "addr", "add", f"{address(host, 6)}/64", "dev", "eth0", "nodad")
    ip("-n", host, "link", "set", "eth0", "mtu", str(MTU[host]), "up")
    ip("-n", host, "link", "set", "lo", "up")


def _prepare_client() -> None:
    for family, vip in VIPS.items():
        ip("-n", "client", f"-{family}", "route", "add", str(vip), "via", str(address("node", family)))


def _prepare_backend() -> None:
    """What the operator of a stock backend sets up."""
    for vip in VIPS.values():
        ip("-n", "backend", "addr", "add", str(vip), "dev", "lo")
    for device in DEVICES.values():
        ip("-n", "backend", "link", "set", device, "up")
    _set("backend", {f"net/ipv4/conf/{each}/rp_filter": 0 for each in ("all", "default", "eth0", "gre0")})
    _set("backend", {"net/ipv4/conf/all/arp_ignore": 1, "net/ipv4/conf/all/arp_announce": 2})


def _fill(node: NodeDataPlane) -> None:
    hop = inside("node", lambda: _next_hop("backend"))
    ends = [Tunnel(address("backend", family), hop) for family in VIPS]
    node.set_interfaces({hop.ifindex: hop.source_mac})
    node.set_source([address("node", family) for family in VIPS])
    node.set_backends([BackendEntry(BackendId(1), False, *ends)])
    for family in VIPS:
        node.stage(_table(family))
        node.switch(_pool(family))
    node.set_vips([
        VipEntry(vip, protocol, PORTS[family], _pool(family))
        for vip in VIPS.values() for family in PORTS for protocol in (Protocol.TCP, Protocol.UDP)
    ])  # fmt: skip


def _next_hop(host: str) -> NextHop:
    """Run in the node's namespace."""
    own = ip_json("-n", "node", "link", "show", "dev", "eth0")[0]
    other = ip_json("-n", host, "link", "show", "dev", "eth0")[0]
    macs = [bytes.fromhex(each["address"].replace(":", "")) for each in (own, other)]
    return NextHop(own["ifindex"], macs[0], macs[1], MTU["node"])


def _pool(family: IPVersion) -> PoolName:
    return PoolName(f"by-ipv{family}")


def _table(family: IPVersion) -> PoolTable:
    nobody = np.zeros(SIZE, np.uint16)
    return PoolTable(
        _pool(family), EpochNumber(1), SIZE, HashMode.FLOW, HashAlgorithm.MULTIPLY, derive_keys(bytes(32), family),
        np.ones(SIZE, np.uint16), nobody, nobody, tunnel=family,
    )  # fmt: skip


def _set(host: str, values: dict[str, int]) -> None:
    inside(host, lambda: [Path("/proc/sys", name).write_text(str(value)) for name, value in values.items()])


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=20)
