"""Neighbours: who has which Ethernet address, and how sure the kernel is of it.

The data plane forwards without the kernel's stack, so nothing else keeps these entries alive: whoever relies on one
that is not `is_fresh` asks the kernel to confirm it (`confirm`).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pyroute2.netlink.rtnl import ndmsg

from lbnode.netdev.errors import NetdevError
from lbnode.netdev.netlink import Netlink, error_code

Address = IPv4Address | IPv6Address

ASKING = ndmsg.NUD_INCOMPLETE
KNOWN = (
    ndmsg.NUD_PERMANENT | ndmsg.NUD_REACHABLE | ndmsg.NUD_STALE | ndmsg.NUD_DELAY | ndmsg.NUD_PROBE
)  # fmt: skip
"""States whose Ethernet address may be used."""

FRESH = ndmsg.NUD_PERMANENT | ndmsg.NUD_REACHABLE | ndmsg.NUD_DELAY | ndmsg.NUD_PROBE | ASKING
"""States in which the kernel needs no push: it knows, or it is asking already."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the kernel has of a neighbour: `state` are bits NUD_… (linux/neighbour.h), 0 where there is no entry."""

    ifindex: int
    address: Address
    state: int = 0
    mac: bytes | None = None

    def __str__(self) -> str:
        return f"neighbour {self.address} on interface {self.ifindex}"

    @property
    def usable(self) -> bytes | None:
        """The Ethernet address to send to; None while the kernel vouches for none."""
        return self.mac if self.state & KNOWN else None

    @property
    def is_fresh(self) -> bool:
        """Whether the kernel needs no push to know or to find out."""
        return bool(self.state & FRESH)

    @property
    def after_push(self) -> Neighbour:
        """What the kernel makes of the entry when it is asked to `confirm` it, without a word to anybody."""
        state = ndmsg.NUD_DELAY if self.state & KNOWN else ASKING
        return Neighbour(self.ifindex, self.address, state, self.mac)


async def read_neighbour(netlink: Netlink, ifindex: int, address: Address) -> Neighbour:
    """Return the kernel's entry, one of state 0 where there is none."""
    absent = Neighbour(ifindex, address)
    try:
        answers = await netlink.request(str(absent), "neigh", "get", dst=str(address), ifindex=ifindex)
    except NetdevError as error:
        if error_code(error) == errno.ENOENT:
            return absent
        raise
    text = answers[0].get("NDA_LLADDR")
    mac = bytes.fromhex(text.replace(":", "")) if text else None
    return Neighbour(ifindex, address, answers[0]["state"], mac)


async def confirm(netlink: Netlink, neighbour: Neighbour) -> None:
    """Have the kernel find or confirm the neighbour as if a packet waited for it (NTF_USE, linux/neighbour.h)."""
    await netlink.request(
        f"resolve {neighbour}",
        "neigh",
        "replace",
        dst=str(neighbour.address),
        ifindex=neighbour.ifindex,
        state=ndmsg.NUD_NONE,
        flags=ndmsg.NTF_USE,
    )
