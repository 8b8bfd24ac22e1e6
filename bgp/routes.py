"""Routes as values, and the difference between two sets of them.

A set is always whole: whoever changes something hands over all that shall be announced, and `difference` says
what that means for a router that was told another set before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

from bgp.errors import RouteError

Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class Community:
    """A BGP community (RFC 1997): two 16-bit numbers, written `high:low`."""

    high: int
    low: int

    def __post_init__(self) -> None:
        if not (0 <= self.high <= 0xFFFF and 0 <= self.low <= 0xFFFF):
            raise RouteError(f"community {self}: each half is a number from 0 to 65535")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the community that `high:low` names."""
        high, colon, low = text.partition(":")
        if not (colon and high.isdecimal() and low.isdecimal()):
            raise RouteError(f"community {text!r}: write two numbers as high:low, for example 65000:100")
        return cls(int(high), int(low))

    def __str__(self) -> str:
        return f"{self.high}:{self.low}"


GRACEFUL_SHUTDOWN = Community(65535, 0)
"""Asks routers to prefer any other way before this one ends (RFC 8326)."""


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix that this node can be reached by. Order and repetition of communities carry no meaning."""

    prefix: Prefix
    communities: frozenset[Community] = frozenset()

    @classmethod
    def to(cls, address: IPv4Address | IPv6Address | Prefix, communities: Iterable[Community] = ()) -> Self:
        """Return the route to a prefix, or the host route (/32 or /128) to one address."""
        return cls(ip_network(address), frozenset(communities))

    def __str__(self) -> str:
        tags = " ".join(str(community) for community in sorted(self.communities))
        return f"{self.prefix} [{tags}]" if tags else str(self.prefix)


@dataclass(frozen=True, slots=True)
class Difference:
    """What turns one set into another. A route whose communities change is in `announce`: BGP replaces in
    place.
    """

    announce: tuple[Route, ...]
    withdraw: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class RouteSet:
    """A whole set of routes, at most one for a prefix, in the order of the prefixes."""

    by_prefix: Mapping[Prefix, Route] = field(default_factory=dict)

    @classmethod
    def of(cls, routes: Iterable[Route] = ()) -> Self:
        """Return the set of `routes`. Raises RouteError if two different ones share a prefix."""
        found: dict[Prefix, Route] = {}
        for route in sorted(routes, key=_order):
            if found.setdefault(route.prefix, route) != route:
                raise RouteError(
                    f"route {route.prefix}: two routes with different communities; keep one of them"
                )
        return cls(found)

    def difference(self, told: Mapping[Prefix, Route | None]) -> Difference:
        """Return what somebody who was told `told` must hear to know this set.

        None stands for "something, nobody knows what": it is announced anew or withdrawn, never left alone.
        """
        announce = tuple(route for route in self if told.get(route.prefix) != route)
        withdraw = tuple(prefix for prefix in told if prefix not in self.by_prefix)
        return Difference(announce, withdraw)

    def __iter__(self) -> Iterator[Route]:
        return iter(self.by_prefix.values())

    def __len__(self) -> int:
        return len(self.by_prefix)

    def __contains__(self, route: Route) -> bool:
        return self.by_prefix.get(route.prefix) == route


def _order(route: Route) -> tuple[int, int, int]:
    return route.prefix.version, int(route.prefix.network_address), route.prefix.prefixlen
