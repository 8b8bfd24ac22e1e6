"""From an address to the Ethernet hop towards it, out of the kernel's own routes and neighbours.

The data plane forwards without the kernel's stack, so nothing else keeps the neighbour entries alive: each
look-up of an entry that is missing or old asks the kernel to resolve it (NTF_USE). Call again when `watcher`
reports a change.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyroute2.netlink.rtnl import ndmsg, rt_type

from lbnode.model.nexthop import MAC_LENGTH, NextHop
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import link_at
from lbnode.netdev.netlink import Message, Netlink, error_code

Address = IPv4Address | IPv6Address

KNOWN = (
    ndmsg.NUD_PERMANENT | ndmsg.NUD_REACHABLE | ndmsg.NUD_STALE | ndmsg.NUD_DELAY | ndmsg.NUD_PROBE
)  # fmt: skip
"""Neighbour states whose link-layer address may be used."""

FRESH = ndmsg.NUD_PERMANENT | ndmsg.NUD_REACHABLE | ndmsg.NUD_DELAY | ndmsg.NUD_PROBE | ndmsg.NUD_INCOMPLETE
"""Neighbour states in which the kernel needs no push: it knows, or it is asking already."""

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
    neighbour that has not answered yet. In the last case the kernel has been asked to resolve it, and the
    watcher will call.
    """
    hop = await route_to(netlink, address)
    if hop is None:
        return None
    link = await link_at(netlink, hop.ifindex)
    if not link.up or len(link.mac) != MAC_LENGTH:
        return None
    mac = await _neighbour(netlink, hop)
    if mac is None:
        return None
    return NextHop(link.index, link.mac, mac, min(link.mtu, hop.mtu or link.mtu))


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


async def _neighbour(netlink: Netlink, hop: Hop) -> bytes | None:
    """The neighbour's Ethernet address; asks the kernel to find or confirm it unless that is under way."""
    what = f"neighbour {hop.neighbour} on interface {hop.ifindex}"
    state, mac = await _neighbour_entry(netlink, what, hop)
    if not state & FRESH:
        await _ask(netlink, what, hop)
    return mac if state & KNOWN else None


async def _neighbour_entry(netlink: Netlink, what: str, hop: Hop) -> tuple[int, bytes | None]:
    try:
        answers = await netlink.request(what, "neigh", "get", dst=str(hop.neighbour), ifindex=hop.ifindex)
    except NetdevError as error:
        if error_code(error) == errno.ENOENT:
            return 0, None
        raise
    text = answers[0].get("NDA_LLADDR")
    return answers[0]["state"], bytes.fromhex(text.replace(":", "")) if text else None


async def _ask(netlink: Netlink, what: str, hop: Hop) -> None:
    """Have the kernel resolve the neighbour as if a packet waited for it (NTF_USE, linux/neighbour.h)."""
    await netlink.request(
        f"resolve {what}",
        "neigh",
        "replace",
        dst=str(hop.neighbour),
        ifindex=hop.ifindex,
        state=ndmsg.NUD_NONE,
        flags=ndmsg.NTF_USE,
    )
