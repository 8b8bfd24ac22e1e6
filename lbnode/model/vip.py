"""What a VIP is: one address or a prefix; one port, a range or any. And which of several a packet belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

from lbnode.model.ids import IPAddress, IPNetwork, PoolName


class Protocol(IntEnum):
    """IP protocol numbers of the protocols that a VIP can have."""

    TCP = 6
    UDP = 17


class WrongPort(Enum):
    """What becomes of a packet to a VIP's address on a port where no VIP is."""

    DROP = "drop"
    PASS = "pass"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from `first` to `last`, both included: more than one."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return "any" if self == ANY_PORT else f"{self.first}-{self.last}"


ANY_PORT = PortRange(1, 65535)

VipAddress = IPAddress | IPNetwork
"""An address, or a prefix of more than one address: a host is never written as a network."""

VipPort = int | PortRange


def vip_address(network: IPNetwork) -> VipAddress:
    """Return the prefix as a VIP has it: the address itself where there is but one."""
    return network.network_address if network.num_addresses == 1 else network


def lying_in(address: VipAddress, known: Collection[IPAddress]) -> Iterator[IPAddress]:
    """Yield those of the `known` addresses (a set or a mapping) that are `address`, or lie in it."""
    if not isinstance(address, IPv4Address | IPv6Address):
        yield from (one for one in known if one in address)
    elif address in known:
        yield address


def address_order(address: VipAddress) -> tuple[int, int, int]:
    """Return what addresses and prefixes are sorted by: family, address, the shorter prefix first."""
    network = _network(address)
    return network.version, int(network.network_address), network.prefixlen


@lru_cache(maxsize=1 << 14)
def _network(address: VipAddress) -> IPNetwork:
    return ip_network(address)


class VipKey(NamedTuple):
    """What makes a packet one of this VIP's."""

    address: VipAddress
    protocol: Protocol
    port: VipPort

    @property
    def network(self) -> IPNetwork:
        """The VIP's addresses."""
        return _network(self.address)

    @property
    def ports(self) -> PortRange:
        """The VIP's ports."""
        return self.port if isinstance(self.port, PortRange) else PortRange(self.port, self.port)

    @property
    def is_exact(self) -> bool:
        """True for one address and one port."""
        return isinstance(self.address, IPv4Address | IPv6Address) and isinstance(self.port, int)

    @property
    def precedence(self) -> tuple[int, int]:
        """The larger, the sooner: the longer prefix, then one port before a range before any.

        Two VIPs of a fleet that take the same packet differ in it.
        """
        return self.network.prefixlen, 2 if isinstance(self.port, int) else int(self.port != ANY_PORT)

    def takes(self, address: IPAddress, protocol: int, port: int) -> bool:
        """True for a packet to `address` and `port`, were this the only VIP."""
        return protocol == self.protocol and port in self.ports and address in self.network

    def covers(self, other: VipKey) -> bool:
        """True when this VIP would take every packet of `other`."""
        mine, theirs = self.network, other.network
        return (
            self.protocol == other.protocol
            and mine.version == theirs.version
            and mine.prefixlen <= theirs.prefixlen
            and theirs.network_address in mine
            and self.ports.first <= other.ports.first
            and other.ports.last <= self.ports.last
        )

    def overlaps(self, other: VipKey) -> bool:
        """True when there are packets that either would take."""
        return (
            self.protocol == other.protocol
            and self.network.version == other.network.version
            and self.network.overlaps(other.network)
            and self.ports.first <= other.ports.last
            and other.ports.first <= self.ports.last
        )

    @property
    def endpoint(self) -> str:
        """Address and port alone: `192.0.2.10:80`, `[2001:db8::/64]:any`."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        """As operators write it: `192.0.2.10:80/tcp`, `[2001:db8::/64]:any/udp`."""
        return f"{self.endpoint}/{self.protocol.name.lower()}"


def choose(keys: Iterable[VipKey], address: IPAddress, protocol: int, port: int) -> VipKey | None:
    """Return which of `keys` a packet to `address` and `port` belongs to."""
    taking = (key for key in keys if key.takes(address, protocol, port))
    return max(taking, key=lambda key: key.precedence, default=None)


@dataclass(frozen=True, slots=True)
class Vip:
    """A virtual address (or prefix), protocol and port (or ports) that clients connect to; it points at a pool."""

    address: VipAddress
    protocol: Protocol
    port: VipPort
    pool: PoolName
    wrong_port: WrongPort = WrongPort.DROP

    @property
    def key(self) -> VipKey:
        """What makes a packet one of this VIP's."""
        return VipKey(self.address, self.protocol, self.port)
