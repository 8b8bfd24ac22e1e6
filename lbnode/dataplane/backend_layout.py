"""The backend's structures beside the node's (lbnode/bpf/decap_layout.h), taken from the object's own BTF. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np

from lbnode.dataplane.addresses import ADDRESS_SIZE, pack_address, unpack_address
from lbnode.dataplane.btf import Btf
from lbnode.dataplane.layout import AGENT_MAPS, Layout, digest

Address = IPv4Address | IPv6Address

_OUTCOMES = "decap_outcome"
_PREFIX = "DECAP_"
_COUNT = "DECAP_OUTCOME_COUNT"


class MemberKind(IntEnum):
    """Who may send to a backend; enum member_kind."""

    NODE = 1
    BACKEND = 2


@dataclass(frozen=True, slots=True)
class BackendLayout:
    """The node's structures, `struct agent`, the counters' names by row, and eight digits over all of it."""

    node: Layout
    agent: np.dtype[Any]
    outcomes: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, btf: Btf) -> BackendLayout:
        """Read the layout of the object that `btf` belongs to."""
        node, agent, outcomes, maps = Layout.of(btf), btf.dtype("agent"), outcome_names(btf), btf.maps()
        described = node.digest, [(name, maps[name]) for name in AGENT_MAPS], outcomes
        return cls(node, agent, outcomes, digest(described))


def outcome_names(btf: Btf) -> tuple[str, ...]:
    """Return the counters' names by row, as the object itself has them."""
    names = {value: name for name, value in btf.enum(_OUTCOMES).items() if name != _COUNT}
    return tuple(names[row].removeprefix(_PREFIX) for row in sorted(names))


_SENDER = struct.Struct(f"<{ADDRESS_SIZE}sI")


def pack_sender(address: Address) -> bytes:
    """Return a key of map `sources`: struct sender."""
    return _SENDER.pack(pack_address(address), address.version)


def unpack_sender(key: bytes) -> Address:
    """Return the address in a key of map `sources`."""
    packed, family = _SENDER.unpack(key)
    return unpack_address(packed, family)


def pack_kind(kind: MemberKind) -> bytes:
    """Return a value of map `sources`."""
    return kind.to_bytes(4, "little")
