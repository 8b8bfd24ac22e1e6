"""The entries of `vips:` in fleet.yaml: an address or a prefix, a port, a range or any; and which may stand together.

Of the VIPs that would take a packet, the one with the longer prefix does, then one port before a range before any
(`VipKey.precedence`). Two that differ in neither are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from itertools import combinations
from typing import Annotated

from pydantic import PlainValidator

from lbnode.core.rules import check_prefix
from lbnode.model.vip import (
    ANY_PORT,
    PortRange,
    Protocol,
    VipAddress,
    VipKey,
    VipPort,
    WrongPort,
    vip_address,
)
from lbnode.settings.fleet_entries import Entry, Name, read_address, whole, word, words
from lbnode.settings.fleet_errors import FleetProblem, format_path, show
from lbnode.settings.reader import Schema, takes

ANY = "any"
_PORT_USE = f"use 1..65535, a range like 8000-8099, or {ANY}"
_port = whole(1, 65535)
_ADDRESS_OR_PREFIX: Schema = {
    "type": "string",
    "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": "/"}],
}
_PORT_OR_PORTS: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": "^([0-9]+ *- *[0-9]+|[aA][nN][yY])$"},
    ]
}


@takes(_ADDRESS_OR_PREFIX)
def read_vip_address(value: object) -> VipAddress:
    """Return an address, or a prefix written like 203.0.113.0/28."""
    if not isinstance(value, str) or "/" not in value:
        return read_address(value)
    try:
        network = ip_network(value)
    except ValueError:
        raise ValueError(_no_prefix(value)) from None
    problem = check_prefix(network)
    if problem is not None:
        raise ValueError(f"{value} {problem}")
    return vip_address(network)


@takes(_PORT_OR_PORTS)
def read_vip_port(value: object) -> VipPort:
    """Return a port, a range of them (8000-8099), or any."""
    if not isinstance(value, str):
        return _port(value)
    if value.lower() == ANY:
        return ANY_PORT
    first, dash, last = (part.strip() for part in value.partition("-"))
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"{show(value)} is no port; {_PORT_USE}")
    if int(first) > int(last):
        raise ValueError(f"{value} ends before it begins; write {last}-{first}")
    low, high = _port(int(first)), _port(int(last))
    return low if low == high else PortRange(low, high)


class VipEntry(Entry):
    address: Annotated[VipAddress, PlainValidator(read_vip_address)]
    port: Annotated[VipPort, PlainValidator(read_vip_port)]
    protocol: Annotated[Protocol, PlainValidator(word({one.name.lower(): one for one in Protocol}))] = (
        Protocol.TCP
    )
    pool: Name
    wrong_port: Annotated[WrongPort, words(WrongPort)] = WrongPort.DROP

    @property
    def key(self) -> VipKey:
        """What makes a packet one of this VIP's."""
        return VipKey(self.address, self.protocol, self.port)


def check_overlaps(vips: Mapping[int, VipEntry]) -> Iterator[FleetProblem]:
    """Yield the VIPs that nothing tells from an earlier one, or of which it cannot be said who takes a packet."""
    alike: dict[object, list[tuple[int, VipKey]]] = {}
    for index, vip in vips.items():
        alike.setdefault((vip.address, vip.protocol, vip.key.precedence), []).append((index, vip.key))
    for group in alike.values():
        for (first, one), (second, other) in combinations(group, 2):
            if one == other:
                what = f"{other} is given already in {format_path(('vips', first))}"
                yield FleetProblem(
                    ("vips", second), f"{what}; a VIP points at one pool; remove one of the two"
                )
            elif isinstance(one.port, PortRange) and one.overlaps(other):
                what = f"{other} has ports in common with {one} in {format_path(('vips', first))}"
                yield FleetProblem(
                    ("vips", second, "port"), f"{what}; nothing says which goes first: part them"
                )


def _no_prefix(value: str) -> str:
    address, _, length = value.partition("/")
    try:
        network = ip_interface(value).network
    except ValueError:
        return f"{show(value)} is no prefix; write it like 203.0.113.0/28"
    if ip_address(address) != network.network_address:
        return f"{value} has bits set behind its first {length}; write {network}, or one address without /"
    return f"{show(value)} is no prefix; write it like {network}"
