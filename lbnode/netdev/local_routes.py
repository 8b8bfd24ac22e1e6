"""Whole prefixes that are this machine's own: routes of type local through an interface (ip-route(8))."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Network, IPv6Network, ip_network

from pyroute2.netlink.rtnl import rt_proto, rt_scope, rt_type

from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Netlink, error_code

Network = IPv4Network | IPv6Network

LOCAL_TABLE = 255
"""Where the kernel looks first (linux/rtnetlink.h, RT_TABLE_LOCAL)."""
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


async def local_routes(netlink: Netlink, interface: str) -> frozenset[Network]:
    """Return the prefixes of more than one address that are local by `interface`, the kernel's own included."""
    link = await link_named(netlink, interface)
    found: set[Network] = set()
    for family in FAMILIES.values():
        spec = {"family": family, "table": LOCAL_TABLE, "oif": link.index}
        for route in await netlink.dump(f"local routes of {interface}", "get_routes", **spec):
            if route["type"] == rt_type["local"] and route.get("RTA_DST"):
                found.add(ip_network((route.get("RTA_DST"), route["dst_len"])))
    return frozenset(network for network in found if network.num_addresses > 1)


async def add_local_route(netlink: Netlink, interface: str, network: Network) -> bool:
    """Make every address of `network` one of this machine's own.

    Returns True when it was made so now, False when it was so already: who adds it takes it away later.
    """
    return await _change(netlink, "add", interface, network, already=errno.EEXIST)


async def remove_local_route(netlink: Netlink, interface: str, network: Network) -> bool:
    """Undo `add_local_route`. Returns False when there was nothing to undo."""
    return await _change(netlink, "del", interface, network, already=errno.ESRCH)


async def _change(netlink: Netlink, verb: str, interface: str, network: Network, already: int) -> bool:
    link = await link_named(netlink, interface)
    spec = {
        "dst": str(network),
        "family": FAMILIES[network.version],
        "oif": link.index,
        "table": LOCAL_TABLE,
        "type": rt_type["local"],
        "scope": rt_scope["host"],
        "proto": rt_proto["static"],
    }
    try:
        await netlink.request(f"{verb} local {network} dev {interface}", "route", verb, **spec)
    except NetdevError as error:
        if error_code(error) == already:
            return False
        raise
    return True
