"""Who is compared from end to end, each on a road of its own: what it is told to do is all that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from lbnode.dataplane.values import Limits
from tests.bench.fleet import BACKENDS, FIRST_VIP, HOP, PORT, make_fleet
from tests.bench.packets import filled
from tests.bench.road import (
    BACKEND_NETWORK,
    RAW,
    TRANSLATED,
    TUNNELLED,
    VIP_NETWORK,
    Arrival,
    Ends,
    Road,
    built,
)

GATEWAY = "10.2.0.2"


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the comparison; `prepare` makes the middle of a road ready."""

    name: str
    streams: tuple[str, ...]
    arrival: Arrival
    prepare: Callable[[Road], AbstractContextManager[None]]
    arms: int = 2


@contextmanager
def _drop(road: Road) -> Iterator[None]:
    road.receive_early()
    yield


@contextmanager
def _push(road: Road) -> Iterator[None]:
    road.push()
    road.receive()
    yield


@contextmanager
def _node(road: Road) -> Iterator[None]:
    road.receive()
    fleet = make_fleet(hop=replace(HOP, ifindex=road.interface(road.way_out)))
    with filled(fleet, Limits(), road.interface("n0")) as node:
        with road.middle.entered():
            node.attach("n0", "native")
        yield


@contextmanager
def _forwarding(road: Road) -> Iterator[None]:
    road.let_in()
    road.receive()
    road.middle.run(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.n0.rp_filter=0",
        "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.n0.send_redirects=0",
        f"ip address add 10.2.0.1/24 dev {road.way_out}",
        f"ip neighbour add {GATEWAY} lladdr {HOP.destination_mac.hex(':')} dev {road.way_out} nud permanent",
        *(f"ip route add {network} via {GATEWAY}" for network in (VIP_NETWORK, BACKEND_NETWORK)),
        "ip route add 100.64.0.0/10 dev n0",
    )
    yield


@contextmanager
def _nftables(road: Road) -> Iterator[None]:
    with _forwarding(road):
        road.middle.run("nft -f -", script=_rules())
        road.middle.run("sysctl -qw net.netfilter.nf_conntrack_checksum=0")
        yield


def _rules() -> str:
    backends = ", ".join(f"{n} : 10.1.{(n + 1) // 250}.{(n + 1) % 250}" for n in range(BACKENDS))
    return f"""
table ip balancer {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr {FIRST_VIP}/24 tcp dport {PORT} dnat to jhash ip saddr . tcp sport mod {BACKENDS} map {{ {backends} }}
    }}
}}
"""


ONE, ONE_THOUSAND, MANY, MILLION, FLOOD = "1 flow", "1k flows", "64k flows", "1M flows", "SYN flood"
CONTENDERS = {
    each.name: each
    for each in (
        Contender("drop", (ONE,), RAW, _drop),
        Contender("push GRE", (ONE,), TUNNELLED, _push),
        Contender("node", (ONE, ONE_THOUSAND, MANY, MILLION, FLOOD), TUNNELLED, _node),
        Contender("kernel forwarding", (ONE_THOUSAND, MANY), RAW, _forwarding),
        Contender("nftables DNAT", (ONE_THOUSAND, MANY, FLOOD), TRANSLATED, _nftables),
        Contender("push GRE, one arm", (ONE,), TUNNELLED, _push, arms=1),
        Contender("node, one arm", (ONE_THOUSAND,), TUNNELLED, _node, arms=1),
        Contender("kernel forwarding, one arm", (ONE_THOUSAND,), RAW, _forwarding, arms=1),
        Contender("nftables DNAT, one arm", (ONE_THOUSAND,), TRANSLATED, _nftables, arms=1),
    )
}


@contextmanager
def ready(contender: Contender, ends: Ends) -> Iterator[Road]:
    """Yield a road on which the contender works."""
    with built(ends, contender.arms) as road, contender.prepare(road):
        yield road
