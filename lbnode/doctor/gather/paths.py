"""The way to backends: routes and neighbours from the kernel, sizes by echo requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lbnode.core.joining import wanted_fleet
from lbnode.doctor.facts import PathFacts
from lbnode.model.ids import BackendName, IPAddress
from lbnode.model.view import FleetView
from lbnode.netdev import Netlink
from lbnode.netdev.links import link_at
from lbnode.netdev.next_hops import resolve, route_to
from lbnode.probe.echo import Echoes
from lbnode.probe.path_mtu import path_mtu

OVERHEAD = {4: 28, 6: 48}
"""Outer header and GRE with key, which always counts (design.md §4), by the family of the outer header."""
NEIGHBOUR_S = 1.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class End:
    """An address at which a backend takes GRE."""

    backend: str
    address: IPAddress


def ends(view: FleetView, without: BackendName | None = None) -> list[End]:
    """Return where the backends of the fleet take GRE of the families that its pools use.

    `without`: the one on this machine.
    """
    fleet = wanted_fleet(view)
    families = {pool.tunnel.version for pool in fleet.pools} if fleet is not None else set()
    return [
        End(member.name, address)
        for name, member in sorted(view.backends.items())
        for address in member.addresses
        if name != without and address.version in families
    ]


async def paths(netlink: Netlink, ends: Iterable[End]) -> Sequence[PathFacts]:
    """Look at the ways to all `ends` at once. Raises NetdevError, PermissionError."""
    with Echoes() as echoes:
        return await asyncio.gather(*(_path(netlink, echoes, end) for end in ends))


async def _path(netlink: Netlink, echoes: Echoes, end: End) -> PathFacts:
    hop = await route_to(netlink, end.address)
    if hop is None:
        return PathFacts(end.backend, end.address, "", None, False, 0, None, OVERHEAD[end.address.version])
    link = await link_at(netlink, hop.ifindex)
    expected = min(link.mtu, hop.mtu or link.mtu)
    measured = await path_mtu(echoes, end.address, expected)
    return PathFacts(
        backend=end.backend,
        address=end.address,
        interface=link.name,
        neighbour=hop.neighbour,
        has_neighbour=await _has_neighbour(netlink, end.address),
        expected_mtu=expected,
        measured_mtu=measured,
        overhead=OVERHEAD[end.address.version],
    )


async def _has_neighbour(netlink: Netlink, address: IPAddress) -> bool:
    """Whether the next hop's Ethernet address becomes known; the first look makes the kernel ask for it."""
    deadline = time.monotonic() + NEIGHBOUR_S
    while await resolve(netlink, address) is None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
