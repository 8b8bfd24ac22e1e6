"""The ends of tunnels: machines have an address of one family or of both, a pool's tunnels are of one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal

from lbnode.model.ids import IPAddress

IPVersion = Literal[4, 6]
"""A family as packets have it."""

Addresses = tuple[IPAddress, ...]
"""Where one machine takes GRE: at most one address of each family, IPv4 first."""


class TunnelFamily(Enum):
    """The family of the outer header of a pool's packets; the inner one is that of the VIP."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def version(self) -> IPVersion:
        """The IP version: 4 or 6."""
        return 4 if self is TunnelFamily.IPV4 else 6

    @property
    def title(self) -> str:
        """The family as people write it."""
        return "IPv4" if self is TunnelFamily.IPV4 else "IPv6"


def version_of(address: IPAddress) -> IPVersion:
    """Return the family of packets to `address`."""
    return 4 if address.version == 4 else 6


def tunnel_end(addresses: Iterable[IPAddress], family: TunnelFamily) -> IPAddress | None:
    """Return the one of a machine's addresses at which it takes GRE of `family`; None when it has none."""
    return next((address for address in addresses if address.version == family.version), None)


def families_of(addresses: Iterable[IPAddress]) -> frozenset[TunnelFamily]:
    """Return the families of which there is an address."""
    versions = {address.version for address in addresses}
    return frozenset(family for family in TunnelFamily if family.version in versions)


def in_order(addresses: Iterable[IPAddress]) -> Addresses:
    """Return the addresses in the order in which records have them, so that equal sets make equal records."""
    return tuple(sorted(addresses, key=lambda address: (address.version, int(address))))


def describe(addresses: Iterable[IPAddress]) -> str:
    """Return the addresses as operators read them: `10.0.0.1, 2001:db8::1`."""
    return ", ".join(str(address) for address in addresses)
