"""Bytes of the backend's maps (lbnode/bpf/decap_layout.h) and their values in Python. Pure.

A test compares the sizes and offsets with the object's own BTF.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lbnode.dataplane.btf import Btf

Address = IPv4Address | IPv6Address

ADDRESS = struct.Struct("16s")
SERVICE = struct.Struct("!16sHBx")
MEMBERSHIP = struct.Struct("<HH")
COUNTER = struct.Struct("<QQ")

STRUCTS = ("decap_address", "decap_service", "decap_membership", "decap_counter")
OUTCOMES = "decap_outcome"
OUTCOME_PREFIX = "DECAP_"
OUTCOME_COUNT = "DECAP_OUTCOME_COUNT"

_IPV4_PREFIX = bytes(12)


@dataclass(frozen=True, slots=True)
class Service:
    """A VIP of this backend: `stamp` is the low half of its pool's newest epoch, `self_id` 0 when not in the
    pool.
    """

    address: Address
    protocol: int
    port: int
    stamp: int
    self_id: int


@dataclass(frozen=True, slots=True)
class Counter:
    """Packets, and bytes of whole frames as they came, since the maps were made."""

    packets: int
    bytes: int


def pack_address(address: Address) -> bytes:
    """Return the 16 bytes of `struct decap_address`: IPv4 stands in the last word."""
    return address.packed.rjust(16, b"\0")


def unpack_address(data: bytes) -> Address:
    """Undo `pack_address`: 12 leading zero bytes mean IPv4 (as IPv6 that would be ::/96, which nobody
    routes).
    """
    return IPv4Address(data[12:]) if data[:12] == _IPV4_PREFIX else IPv6Address(data)


def pack_services(services: tuple[Service, ...]) -> dict[bytes, bytes]:
    """Return the entries of map `services`: one a VIP, and one for each of their addresses as a whole."""
    entries = {
        SERVICE.pack(pack_address(service.address), 0, 0): MEMBERSHIP.pack(0, 0) for service in services
    }
    for service in services:
        key = SERVICE.pack(pack_address(service.address), service.port, service.protocol)
        entries[key] = MEMBERSHIP.pack(service.stamp, service.self_id)
    return entries


def unpack_service(key: bytes, value: bytes) -> Service:
    """Return the VIP of one entry; port and protocol are 0 for an address as a whole."""
    address, port, protocol = SERVICE.unpack(key)
    stamp, self_id = MEMBERSHIP.unpack(value)
    return Service(unpack_address(address), protocol, port, stamp, self_id)


def outcome_names(btf: Btf) -> tuple[str, ...]:
    """Return the counters' names by index, as the object itself has them."""
    names = {value: name for name, value in btf.enum(OUTCOMES).items() if name != OUTCOME_COUNT}
    return tuple(names[index].removeprefix(OUTCOME_PREFIX) for index in sorted(names))


def layout_digest(btf: Btf) -> str:
    """Return eight hex digits that change whenever the meaning of the maps' bytes does.

    Pins stand in a folder of that name, so that a release never reads maps that another laid out differently.
    """
    shape = [(name, btf.members(name)) for name in STRUCTS]
    return hashlib.blake2b(repr((shape, outcome_names(btf))).encode(), digest_size=4).hexdigest()
