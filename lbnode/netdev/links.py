"""Network interfaces: what they are called, how they are addressed, how much they carry."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from lbnode.netdev.errors import InterfaceMissingError, NetdevError
from lbnode.netdev.netlink import Message, Netlink, error_code

IFF_UP = 0x1
IFF_RUNNING = 0x40
IFF_NOARP = 0x80


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: `mac` has 6 bytes (none for devices without Ethernet), `mtu` is in bytes of IP packet.

    `up`: somebody has set it up. `running`: it carries packets, too; one that knows no carrier, like lo, always does
    (RFC 2863: ifOperStatus is up or unknown).
    """

    index: int
    name: str
    mac: bytes
    mtu: int
    up: bool
    running: bool


async def links(netlink: Netlink) -> tuple[Link, ...]:
    """Return every interface of the namespace, by index."""
    found = [_link(message) for message in await netlink.dump("list interfaces", "get_links")]
    return tuple(sorted(found, key=lambda link: link.index))


async def link_named(netlink: Netlink, name: str) -> Link:
    """Return the interface called `name`.

    Raises InterfaceMissingError, which names those that there are.
    """
    try:
        return await _get(netlink, f"interface {name}", ifname=name)
    except NetdevError as error:
        if error_code(error) != errno.ENODEV:
            raise
        raise InterfaceMissingError(name, [link.name for link in await links(netlink)]) from error


async def link_at(netlink: Netlink, index: int) -> Link:
    """Return the interface with that index; raises NetdevError when it is gone."""
    return await _get(netlink, f"interface {index}", index=index)


async def _get(netlink: Netlink, what: str, **spec: object) -> Link:
    answers = await netlink.request(what, "link", "get", **spec)
    return _link(answers[0])


def _link(message: Message) -> Link:
    ethernet = not message["flags"] & IFF_NOARP
    text = message.get("IFLA_ADDRESS") or ""
    mac = bytes.fromhex(text.replace(":", "")) if ethernet else b""
    return Link(
        index=message["index"],
        name=message.get("IFLA_IFNAME"),
        mac=mac if any(mac) else b"",
        mtu=message.get("IFLA_MTU"),
        up=bool(message["flags"] & IFF_UP),
        running=bool(message["flags"] & IFF_RUNNING),
    )
