"""What names, addresses and weights may be: one set of rules for `fleet.yaml` and for operators' verbs.

Each function returns what is wrong with a value, and the remedy, or None.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from ipaddress import IPv6Address

from lbnode.model.fleet import MAX_WEIGHT
from lbnode.model.ids import IPAddress, IPNetwork
from lbnode.model.tunnel import TunnelFamily

NAME_LENGTH = 63
SHORTEST_PREFIX = {4: 8, 6: 32}
"""By IP version: a VIP with a shorter one is a slip."""
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""Names become paths in the store and in the file system, and labels of metrics."""


def check_name(name: str) -> str | None:
    """Names are 1 to 63 letters, digits, dots, hyphens and underscores; letters or digits at both ends."""
    if len(name) > NAME_LENGTH:
        return f"is {len(name)} characters long; use at most {NAME_LENGTH}"
    if not NAME.fullmatch(name):
        return "is no name; use letters, digits and . _ - between them"
    return None


def check_weight(weight: int) -> str | None:
    """Weights are 1..65535; to give a backend nothing, it is drained."""
    if weight == 0:
        return f"is out of range; use 1..{MAX_WEIGHT}, and to give a backend no new flows drain it"
    if not 1 <= weight <= MAX_WEIGHT:
        return f"is out of range; use 1..{MAX_WEIGHT}"
    return None


def check_address(address: IPAddress) -> str | None:
    """VIPs and tunnel ends are unicast addresses that mean the same on every machine."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return f"is an IPv4 address in IPv6 clothes; write {address.ipv4_mapped}"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "belongs to one link; use an address that routers can carry"
    kind = _unusable_kind(address)
    if kind is not None:
        return f"is {kind}; use a unicast address that routers can carry"
    return None


def check_addresses(addresses: Collection[IPAddress]) -> str | None:
    """A machine's tunnels end at one address of each family at most, so that every node sends to the same one."""
    for family in TunnelFamily:
        same = [str(address) for address in addresses if address.version == family.version]
        if len(same) > 1:
            return f"{' and '.join(same)} are both {family.title}; give at most one address of each family"
    return None


def check_prefix(network: IPNetwork) -> str | None:
    """A VIP's prefix consists of addresses that VIPs may have."""
    shortest = SHORTEST_PREFIX[network.version]
    if network.prefixlen < shortest:
        return f"is more than a VIP can be; use /{shortest} or longer"
    return check_address(network.network_address) or check_address(network.broadcast_address)


def _unusable_kind(address: IPAddress) -> str | None:
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_link_local:
        return "a link-local address"
    if address.version == 4 and (int(address) >> 28) == 0xF:
        return "a reserved or broadcast address"
    if address.version == 4 and (int(address) >> 24) == 0:
        return 'an address of "this network" (RFC 1122)'
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown `word`: the closest known one, or all of them if they are few."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1) or [name for name in names if name.lower() == word.lower()]
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return "there are none yet"
    return f"known: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
