"""`struct address` of `lbnode/bpf/layout.h`: 16 bytes for either family, IPv4 in the last four. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from lbnode.model.ids import IPAddress

ADDRESS_SIZE = 16
_IPV4_SIZE = 4
_WORDS = struct.Struct("<4I")

Words = tuple[int, int, int, int]


def pack_address(address: IPAddress) -> bytes:
    """Return the 16 bytes."""
    return address.packed.rjust(ADDRESS_SIZE, b"\0")


def unpack_address(packed: bytes, family: int) -> IPAddress:
    """Return the address; nothing in its bytes tells the family, 4 or 6."""
    if family == 4:
        return IPv4Address(packed[ADDRESS_SIZE - _IPV4_SIZE :])
    return IPv6Address(packed)


def address_words(address: IPAddress) -> Words:
    """Return the four words as a little-endian host loads them."""
    first, second, third, fourth = _WORDS.unpack(pack_address(address))
    return first, second, third, fourth
