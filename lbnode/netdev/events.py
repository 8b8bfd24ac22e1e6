"""What rtnetlink tells its listeners, as values: which kind of thing changed, and what tells whether that matters.

A neighbour's event carries its new state, because there are many of them and each would cost a question; all others
say only where something changed, and the receiver reads it afresh.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lbnode.model.nexthop import MAC_LENGTH
from lbnode.netdev.neighbours import Neighbour

Prefix = IPv4Network | IPv6Network

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
NDMSG = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type
RTMSG = struct.Struct("=BB10x")  # struct rtmsg: family, length of the destination's prefix
IFINFOMSG = struct.Struct("=4xi8x")  # struct ifinfomsg: the interface
IFADDRMSG = struct.Struct("=4xI")  # struct ifaddrmsg: the interface

NDA_DST, NDA_LLADDR, RTA_DST = 1, 2, 1
ADDRESS_SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Change(Enum):
    """What kind of thing changed."""

    LINK = "link"
    NEIGHBOUR = "neighbour"
    ADDRESS = "address"
    ROUTE = "route"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed: of interface `ifindex`, where the kernel's message is about one.

    `neighbour`: as it is now; none for an entry that is not of an IP address. `prefix`: to which a route changed; none
    where any may have (rules, next hop objects).
    """

    change: Change
    ifindex: int | None = None
    neighbour: Neighbour | None = None
    prefix: Prefix | None = None


def parse_events(data: bytes) -> Iterator[Event]:
    """Yield the events in one datagram of the kernel; messages of other kinds are passed over."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        event = _event(kind, data[offset + HEADER.size : offset + length])
        if event is not None:
            yield event
        offset += (length + 3) & ~3


def _event(kind: int, body: bytes) -> Event | None:
    match kind:
        case 16 | 17:  # RTM_NEWLINK, RTM_DELLINK
            return _about_interface(Change.LINK, IFINFOMSG, body)
        case 20 | 21:  # RTM_NEWADDR, RTM_DELADDR
            return _about_interface(Change.ADDRESS, IFADDRMSG, body)
        case 24 | 25:  # RTM_NEWROUTE, RTM_DELROUTE
            return Event(Change.ROUTE, prefix=_prefix(body))
        case 28 | 29:  # RTM_NEWNEIGH, RTM_DELNEIGH
            return _about_neighbour(body, is_gone=kind == 29)
        case 32 | 33 | 104 | 105:  # RTM_NEWRULE, RTM_DELRULE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP
            return Event(Change.ROUTE)
        case _:
            return None


def _about_interface(change: Change, layout: struct.Struct, body: bytes) -> Event:
    return Event(change, layout.unpack_from(body)[0] if len(body) >= layout.size else None)


def _about_neighbour(body: bytes, is_gone: bool) -> Event:
    if len(body) < NDMSG.size:
        return Event(Change.NEIGHBOUR)
    family, ifindex, state, _, _ = NDMSG.unpack_from(body)
    attributes = _attributes(body[NDMSG.size :])
    packed, mac = attributes.get(NDA_DST, b""), attributes.get(NDA_LLADDR, b"")
    if len(packed) != ADDRESS_SIZES.get(family):
        return Event(Change.NEIGHBOUR, ifindex)
    known = mac if len(mac) == MAC_LENGTH and not is_gone else None
    neighbour = Neighbour(ifindex, ip_address(packed), 0 if is_gone else state, known)
    return Event(Change.NEIGHBOUR, ifindex, neighbour)


def _prefix(body: bytes) -> Prefix | None:
    if len(body) < RTMSG.size:
        return None
    family, length = RTMSG.unpack_from(body)
    size = ADDRESS_SIZES.get(family)
    packed = _attributes(body[RTMSG.size :]).get(RTA_DST, bytes(size or 0))
    if size is None or len(packed) != size or length > 8 * size:
        return None
    return ip_network((packed, length), strict=False)


def _attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes by their types, up to the first that is cut short."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > len(data):
            break
        found[kind] = data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found
