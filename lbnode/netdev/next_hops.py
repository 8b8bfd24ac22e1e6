"""From an address to the Ethernet hop towards it, out of the kernel's own routes and neighbours."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyroute2.netlink.rtnl import rt_type

from lbnode.model.nexthop import MAC_LENGTH, NextHop
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import Link, link_at
from lbnode.netdev.neighbours import Neighbour, confirm, read_neighbour
from lbnode.netdev.netlink import Message, Netlink, error_code

Address = IPv4Address | IPv6Address

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)
"""What the kernel answers for an address without a route, or with one that refuses."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Where the kernel would send a packet: interface, neighbour to ask for, the route's MTU (0: none)."""

    ifindex: int
    neighbour: Address
    mtu: int


async def resolve(netlink: Netlink, address: Address) -> NextHop | None:
    """Return the next hop towards `address`, or None while it is unknown.

    None has three causes: no route, a route that does not leave by Ethernet (this machine, a tunnel), or a
    neighbour that has not answered yet. In the last case the kernel has been asked to find it: ask again when it
    tells of the neighbour (`events`).
    """
    hop = await route_to(netlink, address)
    if hop is None:
        return None
    link = await link_at(netlink, hop.ifindex)
    if not link.up or len(link.mac) != MAC_LENGTH:
        return None
    neighbour = await read_neighbour(netlink, hop.ifindex, hop.neighbour)
    if not neighbour.is_fresh:
        await confirm(netlink, neighbour)
    return next_hop(hop, link, neighbour)


def next_hop(hop: Hop, link: Link, neighbour: Neighbour) -> NextHop | None:
    """Put together what is known of a hop; None where packets cannot go that way, or not yet."""
    if not link.up or len(link.mac) != MAC_LENGTH or neighbour.usable is None:
        return None
    return NextHop(link.index, link.mac, neighbour.usable, min(link.mtu, hop.mtu or link.mtu))


async def route_to(netlink: Netlink, address: Address) -> Hop | None:
    """Return the kernel's route to `address`, or None where there is none that leaves this machine."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        answers = await netlink.request(
            f"route to {address}", "route", "get", dst=str(address), family=family
        )
    except NetdevError as error:
        if error_code(error) in UNREACHABLE:
            return None
        raise
    route = answers[0]
    interface = route.get("RTA_OIF")
    if route["type"] != rt_type["unicast"] or interface is None:
        return None
    return Hop(interface, _gateway(route) or address, _route_mtu(route))


def _gateway(route: Message) -> Address | None:
    """The neighbour that the route names: of its own family, or of the other one (RTA_VIA, RFC 5549)."""
    gateway = route.get("RTA_GATEWAY")
    if gateway is None:
        via = route.get("RTA_VIA")
        gateway = via["addr"] if via else None
    return ip_address(gateway) if gateway else None


def _route_mtu(route: Message) -> int:
    metrics = route.get("RTA_METRICS")
    return int(metrics.get("RTAX_MTU") or 0) if metrics else 0
