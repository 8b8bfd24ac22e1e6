"""The speaker's settings as values, and ExaBGP's two files (configuration and environment) as text.

Pure: passwords come in as an argument, files are written by `bgp.speaker`. ExaBGP only ever connects out (it
binds nothing), reads no file of the machine's own, and keeps what it announced so that it can repeat it to a
router that comes back.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from bgp.errors import SettingsError

IPAddress = IPv4Address | IPv6Address

LEAST_HOLD_TIME_S = 3
MOST_HOLD_TIME_S = 65535
MOST_AS = 0xFFFFFFFF
MOST_PASSWORD_BYTES = 80

_UNQUOTABLE = frozenset('"\\\n\r')


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A router that the node has a session with.

    `hold_time_s` is offered to the router: the smaller of the two counts (RFC 4271 §4.2), and a node that
    dies without a word is believed alive for that long. `next_hop` is an address of this node of the *other*
    family: with it the session carries both families (RFC 4760), without it only its own. `ttl_hops` is the
    greatest number of hops to the router, 1 for one on the same link: packets from farther away are dropped
    (RFC 5082). The password (TCP MD5, RFC 2385) is the first line of `md5_password_file`.
    """

    address: IPAddress
    peer_as: int
    local_address: IPAddress
    hold_time_s: int = LEAST_HOLD_TIME_S
    next_hop: IPAddress | None = None
    md5_password_file: Path | None = None
    ttl_hops: int | None = None

    def __post_init__(self) -> None:
        self._check("peer_as", 1, MOST_AS, self.peer_as, "an AS number")
        self._check("hold_time_s", LEAST_HOLD_TIME_S, MOST_HOLD_TIME_S, self.hold_time_s, "seconds")
        if self.ttl_hops is not None:
            self._check("ttl_hops", 1, 254, self.ttl_hops, "hops")
        if self.local_address.version != self.address.version:
            self._refuse("local_address", f"{self.local_address} and the router are of different families")
        if self.next_hop is not None and self.next_hop.version == self.address.version:
            self._refuse("next_hop", f"{self.next_hop} is of the session's own family, which needs none")

    def carries(self, version: int) -> bool:
        """Say whether routes of IP `version` can be announced on this session."""
        return version == self.address.version or self.next_hop is not None

    def next_hop_for(self, version: int) -> str:
        """Return the next hop to announce with, in ExaBGP's words; the session must carry `version`."""
        return "self" if version == self.address.version else str(self.next_hop)

    def _check(self, field: str, least: int, most: int, value: int, unit: str) -> None:
        if not least <= value <= most:
            self._refuse(field, f"{value} is out of range: {unit} from {least} to {most}")

    def _refuse(self, field: str, why: str) -> None:
        raise SettingsError(f"neighbors.{self.address}.{field}: {why}")


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """Who the node is in BGP and which routers it talks to. All nodes of a fleet share one `local_as`."""

    router_id: IPv4Address
    local_as: int
    neighbors: tuple[Neighbor, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.local_as <= MOST_AS:
            raise SettingsError(
                f"local_as: {self.local_as} is out of range: an AS number from 1 to {MOST_AS}"
            )
        if int(self.router_id) == 0:
            raise SettingsError(
                "router_id: 0.0.0.0 names nobody: give an IPv4 address of this node (RFC 6286)"
            )
        if not self.neighbors:
            raise SettingsError("neighbors: empty: name at least one router, or run without a speaker")
        addresses = [neighbor.address for neighbor in self.neighbors]
        for address in addresses:
            if addresses.count(address) > 1:
                raise SettingsError(f"neighbors.{address}: named twice: keep one of them")


def configuration(
    settings: SpeakerSettings, relay: Sequence[str], passwords: Mapping[IPAddress, str] | None = None
) -> str:
    """Return ExaBGP's configuration file.

    `relay` is the command line of the relay, an absolute path first; `passwords` the TCP MD5 passwords by
    router. Raises SettingsError for a command or password that ExaBGP's syntax cannot hold.
    """
    passwords = passwords or {}
    neighbors = (_neighbor(settings, each, passwords.get(each.address)) for each in settings.neighbors)
    return "\n".join([_process(relay), *neighbors])


def environment(user: str, log: Path) -> str:
    """Return ExaBGP's environment file: who it runs as, where it logs, and no door to the outside."""
    return "\n".join(
        [
            "[exabgp.daemon]",
            f"user = '{user}'",
            "umask = '0077'",
            "daemonize = false",
            "[exabgp.log]",
            f"destination = '{log}'",
            "level = INFO",
            "short = false",
            "[exabgp.api]",
            "ack = true",
            "cli = false",
            "respawn = true",
            "[exabgp.tcp]",
            "bind = ''",
            "",
        ]
    )


def _process(relay: Sequence[str]) -> str:
    command = " ".join(_quoted("relay command", word) for word in relay)
    return f"process relay {{\n    run {command};\n    encoder json;\n}}\n"


def _neighbor(settings: SpeakerSettings, neighbor: Neighbor, password: str | None) -> str:
    lines = [
        f"router-id {settings.router_id}",
        f"local-address {neighbor.local_address}",
        f"local-as {settings.local_as}",
        f"peer-as {neighbor.peer_as}",
        f"hold-time {neighbor.hold_time_s}",
        "passive false",
        "adj-rib-out true",
        *_protection(neighbor, password),
    ]
    body = "".join(f"    {line};\n" for line in lines)
    return f"neighbor {neighbor.address} {{\n{body}{_families(neighbor)}{_API}}}\n"


def _protection(neighbor: Neighbor, password: str | None) -> list[str]:
    """TCP MD5 (in base64, so that any byte passes through the syntax) and TTL security."""
    lines = []
    if neighbor.ttl_hops is not None:
        lines.append(f"incoming-ttl {256 - neighbor.ttl_hops}")
    if password is not None:
        key = password.encode()
        if not 1 <= len(key) <= MOST_PASSWORD_BYTES:
            raise SettingsError(
                f"neighbors.{neighbor.address}.md5_password_file: the password has {len(key)} bytes: "
                f"TCP MD5 takes 1 to {MOST_PASSWORD_BYTES}"
            )
        lines += [f'md5-password "{base64.b64encode(key).decode()}"', "md5-base64 true"]
    return lines


def _families(neighbor: Neighbor) -> str:
    names = [f"ipv{version} unicast" for version in (4, 6) if neighbor.carries(version)]
    return "    family {\n" + "".join(f"        {name};\n" for name in names) + "    }\n"


_API = "    api {\n        processes [ relay ];\n        neighbor-changes;\n    }\n"


def _quoted(what: str, word: str) -> str:
    if _UNQUOTABLE & set(word):
        raise SettingsError(
            f"{what}: {word!r}: quotes, backslashes and line ends cannot be written for ExaBGP"
        )
    return f'"{word}"'
