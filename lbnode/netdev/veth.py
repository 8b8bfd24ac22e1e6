"""The other end of a veth pair: it decides whether what XDP sends back arrives.

A frame that XDP answers with is taken by the other end only if that has an XDP program too; without, the driver
drops it. The other end usually is in another network namespace: it can be looked at where that has a name under
/run/netns, or is the one that process 1 lives in.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lbnode.netdev import ethtool
from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Message, Netlink

T = TypeVar("T")

NAMED = Path("/run/netns")
FIRST_PROCESS = Path("/proc/1/ns/net")
FIRST_NAME = "1"
OWN = Path("/proc/thread-self/ns/net")
CLONE_NEWNET = 0x40000000
KIND = "veth"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class VethPeer:
    """The other end: its name, where it is ("" for this namespace), and what it does."""

    name: str
    namespace: str
    mtu: int
    has_xdp: bool
    tx_checksum: bool

    def command(self, words: str) -> str:
        """Return the shell command `words` for the namespace that the peer is in."""
        if self.namespace == FIRST_NAME:
            return f"nsenter --net={FIRST_PROCESS} {words}"
        return f"ip netns exec {self.namespace} {words}" if self.namespace else words


async def is_veth(netlink: Netlink, name: str) -> bool:
    """Whether the interface `name` is one end of a veth pair; raises NetdevError."""
    return _kind(await _message(netlink, name)) == KIND


async def peer_of(netlink: Netlink, name: str) -> VethPeer | None:
    """Return the other end of the veth `name`, or None where it is out of sight; raises NetdevError."""
    message = await _message(netlink, name)
    number = message.get("IFLA_LINK")
    if _kind(message) != KIND or not number:
        return None
    foreign = message.get("IFLA_LINK_NETNSID")
    if foreign is None:
        return await _look(netlink, number, "")
    for place in _namespaces():
        if await _number_of(netlink, place) == foreign:
            return await asyncio.to_thread(_look_there, number, place)
    return None


async def _message(netlink: Netlink, name: str) -> Message:
    link = await link_named(netlink, name)
    answers = await netlink.request(f"interface {name}", "link", "get", index=link.index)
    return answers[0]


def _kind(message: Message) -> str:
    information = message.get("IFLA_LINKINFO")
    return str(information.get("IFLA_INFO_KIND")) if information else ""


def _namespaces() -> Iterator[Path]:
    if NAMED.is_dir():
        yield from sorted(NAMED.iterdir())
    yield FIRST_PROCESS


async def _number_of(netlink: Netlink, place: Path) -> int | None:
    """The number by which this namespace knows the one at `place`, if it does."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return await netlink.namespace_number(descriptor)
    finally:
        os.close(descriptor)


def _look_there(index: int, place: Path) -> VethPeer:
    """Look from inside the namespace at `place`; in a thread without a loop."""

    async def look() -> VethPeer:
        async with Netlink() as netlink:
            return await _look(netlink, index, FIRST_NAME if place == FIRST_PROCESS else place.name)

    return _inside(place, lambda: asyncio.run(look()))


async def _look(netlink: Netlink, index: int, namespace: str) -> VethPeer:
    answers = await netlink.request(f"interface {index}", "link", "get", index=index)
    name = answers[0].get("IFLA_IFNAME")
    xdp = answers[0].get("IFLA_XDP")
    attached = xdp.get("IFLA_XDP_ATTACHED") if xdp else 0
    return VethPeer(
        name, namespace, answers[0].get("IFLA_MTU"), bool(attached), ethtool.offloads(name).tx_checksum
    )


def _inside(place: Path, work: Callable[[], T]) -> T:
    """Do `work` in the namespace at `place`. Moves the calling thread there and back."""
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(place)
        try:
            return work()
        finally:
            _set(home, "the namespace that the doctor came from")
    finally:
        os.close(home)


def _enter(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(descriptor, str(place))
    finally:
        os.close(descriptor)


def _set(descriptor: int, name: str) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise NetdevError(f"enter {name}: {os.strerror(ctypes.get_errno())}; needs CAP_SYS_ADMIN")
