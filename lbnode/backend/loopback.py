"""VIPs on lo: an address stands there as a host address, a whole prefix as a local route (ip-route(8), type local)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from lbnode.model.vip import VipAddress
from lbnode.netdev import Netlink
from lbnode.netdev.addresses import add_address, addresses, remove_address
from lbnode.netdev.local_routes import add_local_route, local_routes, remove_local_route

LOOPBACK = "lo"


async def held(netlink: Netlink) -> frozenset[VipAddress]:
    """Return the addresses and the prefixes that are this machine's by lo."""
    return frozenset({*await addresses(netlink, LOOPBACK), *await local_routes(netlink, LOOPBACK)})


async def hold(netlink: Netlink, address: VipAddress) -> None:
    """Have the kernel take packets to `address`; no matter if it does already."""
    if isinstance(address, IPv4Address | IPv6Address):
        await add_address(netlink, LOOPBACK, address)
    else:
        await add_local_route(netlink, LOOPBACK, address)


async def release(netlink: Netlink, address: VipAddress) -> None:
    """Undo `hold`; no matter if it is undone already."""
    if isinstance(address, IPv4Address | IPv6Address):
        await remove_address(netlink, LOOPBACK, address)
    else:
        await remove_local_route(netlink, LOOPBACK, address)
