"""QUIC connection ids that name the backend that minted them, so that every node sends a connection there for good.

The plaintext form of QUIC-LB (draft-ietf-quic-load-balancers-21, §3 and §5.1): the first octet has the number of the
configuration in its three upper bits, and in the lower five how many octets follow; then the server's id, here the
backend's id in two octets; then a nonce. A server mints every connection id that it hands out, the first one
included; nodes and agents read them (docs/quic.md).

This file needs nothing but Python's standard library. Copy it beside a server, or write the same dozen lines in the
server's own language:

    ids = ConnectionIds(read_server_id("/run/evenkeel/backend/id"))
    connection_id = ids.mint()  # 8 octets

From a shell: `python -m lbnode.quic /run/evenkeel/backend/id` prints one.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

UNROUTABLE = 0b111
"""The number that is no configuration's: ids that begin with it name nobody."""
SERVER_ID_SIZE = 2
SHORTEST_NONCE = 4
LONGEST = 20
"""Octets of a connection id in QUIC version 1 (RFC 9000, §17.2)."""

LONG_HEADER = 0x80
"""Tells long headers from short ones (RFC 8999)."""
HANDSHAKES = {1: 2, 0x6B3343CF: 3}
"""The type of Handshake packets by version: RFC 9000, RFC 9369. The client's first that bear only ids of the server."""

_PREFIX = 1 + SERVER_ID_SIZE
_SHORT_AT, _VERSION_AT, _SIZE_AT, _LONG_AT = 1, 1, 5, 6


class QuicIdError(ValueError):
    """There can be no such connection id, or no server's id to mint one from is known."""


@dataclass(frozen=True, slots=True)
class ConnectionIds:
    """A server's connection ids. `config_id`: as in the pool's `quic:`; `length`, in octets, is the server's choice.

    Raises QuicIdError for what no connection id can say.
    """

    server_id: int
    config_id: int = 0
    length: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.server_id < 1 << 8 * SERVER_ID_SIZE:
            raise QuicIdError(f"server id {self.server_id}: a backend's id is 1..65535")
        if not 0 <= self.config_id < UNROUTABLE:
            raise QuicIdError(f"config_id {self.config_id}: use 0..{UNROUTABLE - 1}")
        if not _PREFIX + SHORTEST_NONCE <= self.length <= LONGEST:
            raise QuicIdError(
                f"a connection id of {self.length} octets: use {_PREFIX + SHORTEST_NONCE}..{LONGEST}"
            )

    def mint(self) -> bytes:
        """Return a fresh connection id."""
        first = self.config_id << 5 | self.length - 1
        server = self.server_id.to_bytes(SERVER_ID_SIZE, "big")
        return bytes([first]) + server + secrets.token_bytes(self.length - _PREFIX)


def server_of(connection_id: bytes, config_id: int = 0) -> int | None:
    """Return the id of the server that a connection id names, None when it names nobody.

    Neither the lower bits of the first octet nor what follows the server's id are looked at.
    """
    if len(connection_id) < _PREFIX or connection_id[0] >> 5 != config_id:
        return None
    return int.from_bytes(connection_id[1:_PREFIX], "big") or None


def server_of_packet(payload: bytes, config_id: int = 0) -> int | None:
    """Return the id of the server that a UDP payload names by its first packet's connection id, None for nobody.

    Of packets with a long header, only those of the type Handshake name anybody: in all others the id may be the
    client's own choice, who could aim at a server by it.
    """
    if not payload:
        return None
    if not payload[0] & LONG_HEADER:
        return server_of(payload[_SHORT_AT:], config_id)
    if len(payload) < _LONG_AT:
        return None
    version = int.from_bytes(payload[_VERSION_AT:_SIZE_AT], "big")
    end = _LONG_AT + payload[_SIZE_AT]
    if payload[0] >> 4 & 3 != HANDSHAKES.get(version) or end > len(payload):
        return None
    return server_of(payload[_LONG_AT:end], config_id)


def read_server_id(path: str | Path) -> int:
    """Return the backend's id from the file that `lbbackend` keeps in its `run_dir`. Raises QuicIdError."""
    try:
        server_id = int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise QuicIdError(f"{path}: {error}: is lbbackend running, and in a fleet?") from error
    return server_id


if __name__ == "__main__":
    sys.stdout.write(ConnectionIds(read_server_id(sys.argv[1])).mint().hex() + "\n")
