"""IP addresses on interfaces: the VIPs that a backend holds on `lo`."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv6Address, ip_address

from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Netlink, error_code

Address = IPv4Address | IPv6Address


async def addresses(netlink: Netlink, interface: str) -> frozenset[Address]:
    """Return the addresses on `interface`, of both families."""
    link = await link_named(netlink, interface)
    found = await netlink.dump(f"addresses of {interface}", "get_addr", index=link.index)
    return frozenset(ip_address(message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")) for message in found)


async def every_address(netlink: Netlink) -> frozenset[Address]:
    """Return the addresses on all interfaces, of both families."""
    found = await netlink.dump("addresses", "get_addr")
    return frozenset(ip_address(message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")) for message in found)


async def add_address(netlink: Netlink, interface: str, address: Address) -> bool:
    """Put `address` on `interface` as a host address (/32, /128).

    Returns True when it was added now, False when it was there already: who adds it takes it off later.
    """
    return await _change(netlink, "add", interface, address, already=errno.EEXIST)


async def remove_address(netlink: Netlink, interface: str, address: Address) -> bool:
    """Take the host address off `interface`. Returns False when it was not there."""
    return await _change(netlink, "del", interface, address, already=errno.EADDRNOTAVAIL)


async def _change(netlink: Netlink, verb: str, interface: str, address: Address, already: int) -> bool:
    link = await link_named(netlink, interface)
    spec = {"index": link.index, "address": str(address), "prefixlen": address.max_prefixlen}
    try:
        await netlink.request(f"{verb} {address} on {interface}", "addr", verb, **spec)
    except NetdevError as error:
        if error_code(error) == already:
            return False
        raise
    return True
