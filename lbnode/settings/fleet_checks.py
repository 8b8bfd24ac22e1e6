"""What the entries of a fleet.yaml must be to each other: unique, and naming only what is there.

Only well-formed entries are looked at, but names in broken ones count as known: one mistake, one message.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from lbnode.core.rules import did_you_mean
from lbnode.model.fleet import MAX_SLOTS, Join
from lbnode.model.tunnel import tunnel_end
from lbnode.model.vip import Protocol, VipAddress, WrongPort, lying_in
from lbnode.settings.fleet_document import FleetDocument
from lbnode.settings.fleet_entries import PoolEntry
from lbnode.settings.fleet_errors import FleetProblem, Path, format_path
from lbnode.settings.fleet_vips import VipEntry, check_overlaps


def check_document(document: FleetDocument) -> Iterator[FleetProblem]:
    """Yield everything that does not fit together."""
    yield from _check_unique(document)
    for index, pool in document.pools.entries.items():
        yield from _check_pool(document, ("pools", index), pool)
    yield from _check_vips(document)
    yield from _check_wrong_ports(document)
    yield from _check_health(document)


def _check_unique(document: FleetDocument) -> Iterator[FleetProblem]:
    backends = document.backends.entries
    for key, named in (("backends", document.backends.named), ("pools", document.pools.named)):
        names = (((key, index, "name"), name) for index, name in named.items())
        yield from _repeated(names, "use another name")
    addresses = (
        (("backends", index, "address"), address)
        for index, entry in backends.items()
        for address in entry.address
    )
    yield from _repeated(addresses, "each backend has its own tunnel addresses")
    yield from check_overlaps(document.vips.entries)


def _repeated(values: Iterable[tuple[Path, Hashable]], remedy: str) -> Iterator[FleetProblem]:
    first: dict[Hashable, Path] = {}
    for path, value in values:
        if value in first:
            yield FleetProblem(path, f"{value} is given already in {format_path(first[value])}; {remedy}")
        else:
            first[value] = path


def _check_pool(document: FleetDocument, path: Path, pool: PoolEntry) -> Iterator[FleetProblem]:
    members = (*path, "backends")
    if not pool.backends and pool.join is Join.LISTED:
        given = "backends" in pool.model_fields_set
        what = "is empty; a pool has at least one backend" if given else "is missing; list them"
        yield FleetProblem(members, f"{what}, or let those in that ask for it: join: auto")
    for index, member in enumerate(pool.backends):
        if member.name not in document.backends.names:
            remedy = did_you_mean(member.name, document.backends.names)
            yield FleetProblem((*members, index), f"no backend is called {member.name!r}; {remedy}")
    yield from _check_tunnels(document, path, pool)
    yield from _repeated(
        (((*members, index), member.name) for index, member in enumerate(pool.backends)),
        "give it more weight instead",
    )
    yield from _repeated(
        (
            ((*members, index, "slot"), member.slot)
            for index, member in enumerate(pool.backends)
            if member.slot is not None
        ),
        "a slot has one occupant",
    )
    if len(pool.backends) > min(MAX_SLOTS, pool.table_size):
        what = f"{len(pool.backends)} backends do not fit; a table of {pool.table_size} buckets has room for "
        yield FleetProblem(members, what + str(min(MAX_SLOTS, pool.table_size)))


def _check_tunnels(document: FleetDocument, path: Path, pool: PoolEntry) -> Iterator[FleetProblem]:
    """Each backend of a pool must be reachable by its tunnels."""
    backends = {entry.name: entry for entry in document.backends.entries.values()}
    members = [backends[member.name] for member in pool.backends if member.name in backends]
    without = [entry.name for entry in members if tunnel_end(entry.address, pool.tunnel) is None]
    if without:
        family = pool.tunnel.title
        names = ", ".join(without[:8]) + (f" and {len(without) - 8} more" if len(without) > 8 else "")
        what = f"{pool.tunnel.value}, but no {family} address is given for {names}"
        remedy = "write address: [IPV4, IPV6] there, or choose the other family"
        yield FleetProblem((*path, "tunnel"), f"{what}; {remedy}")


def _check_vips(document: FleetDocument) -> Iterator[FleetProblem]:
    backends = {
        address: entry.name for entry in document.backends.entries.values() for address in entry.address
    }
    for index, vip in document.vips.entries.items():
        if vip.pool not in document.pools.names:
            remedy = did_you_mean(vip.pool, document.pools.names)
            yield FleetProblem(("vips", index, "pool"), f"no pool is called {vip.pool!r}; {remedy}")
        for address in lying_in(vip.address, backends):
            what = f"{address} is that of backend {backends[address]}; use one that no machine has"
            yield FleetProblem(("vips", index, "address"), what)


def _check_wrong_ports(document: FleetDocument) -> Iterator[FleetProblem]:
    """`wrong_port` is about an address or a prefix: all VIPs of one must say the same."""
    said: dict[VipAddress, tuple[int, WrongPort]] = {}
    for index, vip in document.vips.entries.items():
        first, word = said.setdefault(vip.address, (index, vip.wrong_port))
        if word is not vip.wrong_port:
            what = f"{vip.wrong_port.value} for {vip.address}, but vips[{first}] has {word.value}"
            yield FleetProblem(("vips", index, "wrong_port"), f"{what}; say the same in both")


def _check_health(document: FleetDocument) -> Iterator[FleetProblem]:
    """Health that nobody spelled out needs a VIP with one port: which of many to try, nobody knows."""
    for index, pool in document.pools.entries.items():
        mine = [vip.port for vip in document.vips.entries.values() if _is_tcp_of(pool, vip)]
        if "health" not in pool.model_fields_set and mine and not any(isinstance(port, int) for port in mine):
            what = (
                "is missing; no VIP of the pool has one port, so say which to try, health: {port: 80}, or off"
            )
            yield FleetProblem(("pools", index, "health"), what)


def _is_tcp_of(pool: PoolEntry, vip: VipEntry) -> bool:
    return vip.pool == pool.name and vip.protocol is Protocol.TCP
