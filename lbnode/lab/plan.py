"""What a lab consists of: names, addresses and segments, all derived from its name and sizes.

Addresses live inside the lab's own namespaces, so every lab uses the same ones:

    10.71.0.0/24  clients     client1 = .11, client2 = .12, …
    10.72.0.0/24  nodes       n1 = .11, …
    10.73.0.0/24  backends    b1 = .11, …
    10.74.0.0/24  store       zk = .10

In IPv6 they are 2001:db8:71::/64 and so on, with the same numbers. The router is .1 in each. The store has a segment of
its own, so that it can be cut off from everybody (unplug its port) or from one side (drop on the router) without
touching the paths that carry traffic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lbnode.lab.errors import LabError
from lbnode.model.ids import IPAddress

MTU = 1500
MAX_HOSTS = 200
FIRST_HOST = 10
VIP = IPv4Address("192.0.2.10")
VIP6 = IPv6Address("2001:db8:2::10")
HTTP_PORT = 80
DRILL_PORT = 7000
CHURN_PORT = 7001
UDP_PORT = 7002
POOL = "web"
POOL6 = "web6"
"""The second pool of a lab in dual stack: the same backends, through IPv6 tunnels."""

VIPS: dict[str, tuple[IPAddress, ...]] = {
    POOL: (VIP, VIP6),
    POOL6: (IPv4Address("192.0.2.11"), IPv6Address("2001:db8:2::11")),
}
"""Of a lab in dual stack: pool → addresses of both families, and so all four mixes of inner and outer packets."""

ROUTER_AS = 65000
NODE_AS = 65001
HOLD_TIME_S = 3
"""The least that BGP allows (RFC 4271 §4.2): how long a node that died silently still gets traffic."""

NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


class Role(Enum):
    """What a host is there for."""

    CLIENT = "client"
    NODE = "node"
    BACKEND = "backend"
    STORE = "store"


class Store(Enum):
    """Where the fleet keeps its memory."""

    ZOOKEEPER = "zookeeper"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Segment:
    """A bridge in the router's namespace and the networks on it. `xdp`: hosts on it answer with XDP_TX."""

    name: str
    network: IPv4Network
    network6: IPv6Network
    xdp: bool = False

    @property
    def gateway(self) -> IPv4Address:
        """The router's address on this segment."""
        return self.network[1]

    @property
    def gateway6(self) -> IPv6Address:
        """The router's IPv6 address on this segment."""
        return self.network6[1]

    @property
    def mac(self) -> str:
        """The router's MAC on this segment: locally administered, ending in its IPv4 address."""
        return "02:ec:" + ":".join(f"{octet:02x}" for octet in self.gateway.packed)


SEGMENTS = {
    Role.CLIENT: Segment("clients", IPv4Network("10.71.0.0/24"), IPv6Network("2001:db8:71::/64")),
    Role.NODE: Segment("nodes", IPv4Network("10.72.0.0/24"), IPv6Network("2001:db8:72::/64"), xdp=True),
    Role.BACKEND: Segment("backends", IPv4Network("10.73.0.0/24"), IPv6Network("2001:db8:73::/64"), xdp=True),
    Role.STORE: Segment("store", IPv4Network("10.74.0.0/24"), IPv6Network("2001:db8:74::/64")),
}


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the lab: one namespace with one interface, `eth0`, plugged into its segment's bridge.

    The other end of the cable is a bridge port in the router's namespace that bears the host's name.
    """

    name: str
    role: Role
    namespace: str
    address: IPv4Address

    @property
    def segment(self) -> Segment:
        """The segment that the host is plugged into."""
        return SEGMENTS[self.role]

    @property
    def address6(self) -> IPv6Address:
        """The host's IPv6 address: its last group reads as the last number of the IPv4 one."""
        return IPv6Address(f"{self.segment.network6.network_address}{self.address.packed[-1]}")


Setting = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A lab's name and sizes. Raises LabError when they cannot be built.

    `table` names the pool's way of building tables (empty: the product's own); `agent_settings` are added to the
    settings of every backend's agent, `pool_settings` to the pool in fleet.yaml. The first `without_agent` backends
    have no agent but a stand-in for the kernel's gre device (`stock.bpf.c`). `dual_stack`: tunnel addresses
    of both families, and all of `VIPS`.
    """

    lab: str
    nodes: int = 3
    backends: int = 4
    clients: int = 1
    store: Store = Store.ZOOKEEPER
    table: str = ""
    agent_settings: dict[str, Setting] = field(default_factory=dict)
    pool_settings: dict[str, Setting | dict[str, Setting]] = field(default_factory=dict)
    without_agent: int = 0
    dual_stack: bool = False

    def __post_init__(self) -> None:
        check_name(self.lab)
        for what, count in (("nodes", self.nodes), ("backends", self.backends), ("clients", self.clients)):
            if not 1 <= count <= MAX_HOSTS:
                raise LabError(f"lab {self.lab}: {what}: {count} is not in 1..{MAX_HOSTS}")
        if not 0 <= self.without_agent <= self.backends:
            raise LabError(
                f"lab {self.lab}: backends without agent: {self.without_agent} is not in 0..{self.backends}"
            )

    @property
    def vips(self) -> tuple[IPAddress, ...]:
        """The addresses that clients connect to."""
        return tuple(vip for vips in VIPS.values() for vip in vips) if self.dual_stack else (VIP,)

    def tunnel_ends(self, host: Host) -> list[str]:
        """Where tunnels begin or end on a host."""
        return [str(host.address), *([str(host.address6)] if self.dual_stack else [])]

    @property
    def router(self) -> str:
        """The router's namespace."""
        return namespace_of(self.lab, "router")

    def hosts(self) -> Iterator[Host]:
        """Every machine but the router, in the order in which they are to be built."""
        if self.store is Store.ZOOKEEPER:
            yield Host(
                "zk", Role.STORE, namespace_of(self.lab, "zk"), SEGMENTS[Role.STORE].network[FIRST_HOST]
            )
        for role, prefix, count in (
            (Role.CLIENT, "client", self.clients),
            (Role.BACKEND, "b", self.backends),
            (Role.NODE, "n", self.nodes),
        ):
            for number in range(1, count + 1):
                yield self._host(role, prefix, number)

    def of(self, role: Role) -> list[Host]:
        """The hosts of one role, by number."""
        return [host for host in self.hosts() if host.role is role]

    def host(self, name: str) -> Host:
        """The host called `name`; "client" is the first client. Raises LabError with the names there are."""
        wanted = "client1" if name == "client" else name
        hosts = {host.name: host for host in self.hosts()}
        if wanted not in hosts:
            raise LabError(f"lab {self.lab}: no host {name!r}: there are router, {', '.join(hosts)}")
        return hosts[wanted]

    def has_agent(self, backend: Host) -> bool:
        """Whether `lbbackend` runs on a backend."""
        return backend not in self.of(Role.BACKEND)[: self.without_agent]

    def namespace(self, name: str) -> str:
        """The namespace of the host called `name`, or of the router."""
        return self.router if name == "router" else self.host(name).namespace

    def _host(self, role: Role, prefix: str, number: int) -> Host:
        name = f"{prefix}{number}"
        return Host(name, role, namespace_of(self.lab, name), SEGMENTS[role].network[FIRST_HOST + number])


def check_name(lab: str) -> None:
    """Raise LabError unless `lab` can be part of a namespace's name (no dash: it separates lab and host)."""
    if not NAME.fullmatch(lab):
        raise LabError(f"lab {lab!r}: a name is a letter and up to 15 more letters or digits, all small")


def namespace_of(lab: str, host: str) -> str:
    """The network namespace of a lab's host."""
    return f"{namespace_prefix(lab)}{host}"


def namespace_prefix(lab: str) -> str:
    """What the names of all namespaces of one lab, and of no other, begin with."""
    return f"ek-{lab}-"
