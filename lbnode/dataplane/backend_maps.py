"""What stands in the backend's maps, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lbnode.dataplane.backend_layout import (
    COUNTER,
    Address,
    Counter,
    Service,
    unpack_address,
    unpack_service,
)
from lbnode.dataplane.libbpf import Map, possible_cpus


def read_sources(table: Map) -> frozenset[Address]:
    """Return whose GRE is accepted."""
    return frozenset(unpack_address(key) for key in _entries(table))


def read_services(table: Map) -> frozenset[Service]:
    """Return the VIPs, without the entries for addresses as a whole."""
    found = (unpack_service(key, value) for key, value in _entries(table).items())
    return frozenset(service for service in found if service.protocol)


def read_counters(table: Map, names: Iterable[str]) -> dict[str, Counter]:
    """Return the counters by name, summed over the CPUs; `names` in the order of their indices."""
    return {name: _sum(table.lookup(index)) for index, name in enumerate(names)}


def write(table: Map, wanted: Mapping[bytes, bytes]) -> None:
    """Make the map hold exactly `wanted`: what is new first, so that what stays is there at every moment."""
    present = _entries(table)
    for key, value in wanted.items():
        if present.get(key) != value:
            table.update(key, value)
    for key in present.keys() - wanted.keys():
        table.delete(key)


def _entries(table: Map) -> dict[bytes, bytes]:
    keys = table.keys()
    found = {key: table.lookup(key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _sum(value: bytes | None) -> Counter:
    each = list(COUNTER.iter_unpack(value or bytes(COUNTER.size * possible_cpus())))
    return Counter(sum(packets for packets, _ in each), sum(size for _, size in each))
