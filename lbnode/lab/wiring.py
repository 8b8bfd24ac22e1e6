"""The commands that build a lab's network: what to run in which namespace, as shell lines.

Six things here are not obvious, each learnt the hard way:

- the far end of a cable to a host that answers with XDP_TX needs an XDP program (`pass.bpf.c`), or it loses
  every frame;
- a sender's unfinished checksum (tx offload) is not finished by native XDP on the way: it is off everywhere;
- a client's packets carry its socket's hash across veth, and the router would use that for ECMP. It is random
  and drawn anew after each retransmission timeout: flows would leave a dead node by themselves
  (`wire.bpf.c`);
- a bridge takes the least MAC of its ports unless it is given one: cutting a cable would change the router's
  address;
- a bridge floods frames to an address that it does not know: those for a host that was cut off would reach
  its neighbours, whose XDP programs see every frame;
- bridges forward at once (no spanning tree, no learning delay): a new host is reachable when it is up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lbnode.lab import bird
from lbnode.lab.plan import MTU, SEGMENTS, VIP, Host, Role, Segment

OBJECTS = Path(__file__).resolve().parents[1] / "bpf" / "build"
PASS_OBJECT = OBJECTS / "pass.bpf.o"
WIRE_OBJECT = OBJECTS / "wire.bpf.o"
STOCK_OBJECT = OBJECTS / "stock.bpf.o"

NO_OFFLOAD = "tx off tso off gso off gro off"

ROUTER_SYSCTLS: dict[str, int | str] = {
    **bird.SYSCTLS,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
}
"""No rp_filter: backends answer with the VIP, which for the router lives behind the nodes."""

HOST_SYSCTLS: dict[str, int | str] = {
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.ip_local_port_range": '"10000 15999"',  # a drill's flows come from ports of its own choice, above
}


def router_lines() -> list[str]:
    """Run once in the router's namespace: forwarding, and one bridge for each segment."""
    lines = [set_sysctls(ROUTER_SYSCTLS), "ip link set lo up"]
    for segment in SEGMENTS.values():
        lines += bridge_lines(segment)
    return lines


def bridge_lines(segment: Segment) -> list[str]:
    """A bridge that forwards at once and carries the router's address on the segment."""
    name = segment.name
    return [
        f"ip link add {name} address {segment.mac} mtu {MTU} "
        "type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"ip addr add {segment.gateway}/{segment.network.prefixlen} dev {name}",
        f"ip addr add {segment.gateway6}/{segment.network6.prefixlen} dev {name} nodad",
        f"ip link set {name} up",
        f"ethtool -K {name} {NO_OFFLOAD}",
    ]


def cable_lines(host: Host) -> list[str]:
    """Run in the router's namespace: a cable from the segment's bridge to the host's eth0."""
    return [
        f"ip link add {host.name} mtu {MTU} type veth peer name eth0 mtu {MTU} netns {host.namespace}",
        f"ethtool -K {host.name} {NO_OFFLOAD}",
        *([f"ip link set {host.name} xdpdrv obj {PASS_OBJECT} sec xdp"] if host.segment.xdp else []),
        *(_forget_hash_lines(host) if host.role is Role.CLIENT else []),
        *plug_lines(host),
        f"ip link set {host.name} up",
    ]


def host_lines(host: Host) -> list[str]:
    """Run in the host's namespace, after the cable is there."""
    return [
        set_sysctls(HOST_SYSCTLS),
        f"ethtool -K eth0 {NO_OFFLOAD}",
        "ip link set lo up",
        f"ip addr add {host.address}/{host.segment.network.prefixlen} dev eth0",
        f"ip addr add {host.address6}/{host.segment.network6.prefixlen} dev eth0 nodad",
        "ip link set eth0 up",
        f"ip route add default via {host.segment.gateway}",
        f"ip route add default via {host.segment.gateway6}",
    ]


STOCK_SYSCTLS: dict[str, int | str] = {
    "net.ipv4.conf.all.arp_ignore": 1,
    "net.ipv4.conf.all.arp_announce": 2,
}

STOCK_MSS = 1432
"""What a full segment may have beneath GRE without a key on the way from a node, with the room that a key needs."""


def stock_lines(host: Host) -> list[str]:
    """Run in the namespace of a backend without agent: what its operator would set up beside a gre device."""
    return [
        set_sysctls(STOCK_SYSCTLS),
        f"ip addr add {VIP}/32 dev lo",
        f"ip route change default via {host.segment.gateway} advmss {STOCK_MSS}",
        f"ip link set eth0 xdpdrv obj {STOCK_OBJECT} sec xdp",
    ]


def _forget_hash_lines(host: Host) -> list[str]:
    return [
        f"tc qdisc add dev {host.name} clsact",
        f"tc filter add dev {host.name} ingress bpf direct-action object-file {WIRE_OBJECT} section tc",
    ]


def plug_lines(host: Host) -> list[str]:
    """Put the host's cable into its segment's bridge."""
    return [
        f"ip link set {host.name} master {host.segment.name}",
        f"ip link set {host.name} type bridge_slave flood off",
    ]


def unplug_line(host: Host) -> str:
    """Take the cable out of the bridge: both ends keep their carrier, so nobody is told."""
    return f"ip link set {host.name} nomaster"


def isolate_lines(host: Host) -> list[str]:
    """Run in the router's namespace: it forwards nothing between the host and the store's segment any more."""
    return [f"ip rule add {pair} blackhole" for pair in _ways_to_store(host)]


def join_lines(host: Host) -> list[str]:
    """Undo `isolate_lines`."""
    return [f"ip rule del {pair} blackhole" for pair in _ways_to_store(host)]


def _ways_to_store(host: Host) -> tuple[str, str]:
    store = SEGMENTS[Role.STORE].network
    return f"from {host.address} to {store}", f"from {store} to {host.address}"


def set_sysctls(values: Mapping[str, int | str]) -> str:
    """One command for all values."""
    return "sysctl -q -w " + " ".join(f"{name}={value}" for name, value in values.items())
