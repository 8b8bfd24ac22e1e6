"""Worlds: what a data plane knows, as values small enough to be drawn, written down and made smaller.

They say less than the data plane's own values: a next hop is an interface and an MTU, MAC addresses follow from the
backend's id, and a table is the row of its first buckets, repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from lbnode.model.epoch import stamp_of
from lbnode.model.ids import EpochNumber
from lbnode.model.intake import Intake

Address = IPv4Address | IPv6Address
Row = tuple[int, int, int]
"""A bucket: owner, first and second alternate; 0 = none."""

LOOPBACK = 1
"""BPF_PROG_TEST_RUN says that a packet came in by lo."""


class PoolState(Enum):
    """UNREADY: a table is staged and none is current. CORRUPT: the current one is said to lie outside the map."""

    READY = "ready"
    UNREADY = "unready"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and its table. `staged`: the buckets of a table that waits beside it; `past`: of the one before it,
    which early packets still meet.

    `tunnel`: the family of the outer header. `local`: a daemon's own verdicts are on top. `intake`: of an agent.
    `quic`: the configuration of QUIC's connection ids, which may name `named`.
    """

    name: str
    epoch: int
    size: int
    seed: int
    buckets: tuple[Row, ...]
    by_source: bool = False
    siphash: bool = False
    flow_table: bool = False
    failed: tuple[int, ...] = ()
    staged: tuple[Row, ...] = ()
    past: tuple[Row, ...] = ()
    state: PoolState = PoolState.READY
    intake: Intake = Intake.ONE_BEHIND
    tunnel: Literal[4, 6] = 4
    local: bool = False
    quic: int | None = None
    named: tuple[int, ...] = ()

    @property
    def stamp(self) -> int:
        """What packets carry that go by the current table."""
        return stamp_of(EpochNumber(self.epoch), self.local)


@dataclass(frozen=True, slots=True)
class Vip:
    """A VIP; `heard` is for agents: a listener was seen there.

    `length`: of a prefix that begins at `address`. `last_port`: of a range that begins at `port`.
    """

    address: Address
    protocol: int
    port: int
    pool: str
    wrong_port_pass: bool = False
    heard: bool = True
    length: int | None = None
    last_port: int | None = None

    @property
    def is_one(self) -> bool:
        """Whether it is of one address and port."""
        return self.length is None and self.last_port is None


@dataclass(frozen=True, slots=True)
class Way:
    """Where a tunnel ends and how it is reached. `ifindex`: 0 while that is not known; `mtu`: 0 is unlimited."""

    address: Address
    ifindex: int = LOOPBACK
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend and its tunnels, of both families or of one."""

    id: int
    agent: bool = True
    ipv4: Way | None = None
    ipv6: Way | None = None

    @property
    def ways(self) -> tuple[Way, ...]:
        """The tunnels that it has."""
        return tuple(way for way in (self.ipv4, self.ipv6) if way is not None)


@dataclass(frozen=True, slots=True)
class NodeWorld:
    """A node. `own_mac`: empty when frames for every MAC are taken. `answers`: may it write packets itself?"""

    pools: tuple[Pool, ...]
    vips: tuple[Vip, ...]
    backends: tuple[Backend, ...]
    sources: tuple[Address, ...]
    own_mac: bytes
    count_buckets: bool = False
    answers: bool = True


class SocketKind(Enum):
    """How a backend holds a flow; the value ends the outcome's name."""

    HELD = "held"
    HANDSHAKE = "handshake"
    COOKIE = "cookie"
    TIME_WAIT = "time_wait"


@dataclass(frozen=True, slots=True)
class Socket:
    """A flow that the backend's kernel knows, of a client that we play."""

    kind: SocketKind
    client: Address
    client_port: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Member:
    """Who may send to a backend."""

    address: Address
    is_backend: bool = False


@dataclass(frozen=True, slots=True)
class AgentWorld:
    """A backend with the agent; `own`: where its tunnels end, one address of a family."""

    own: tuple[Address, ...]
    self_id: int
    members: tuple[Member, ...]
    pools: tuple[Pool, ...]
    vips: tuple[Vip, ...]
    backends: tuple[Backend, ...]
    sockets: tuple[Socket, ...] = ()
    second_chance: bool = True


World = NodeWorld | AgentWorld


@dataclass(frozen=True, slots=True)
class Number:
    """A TCP number that the kernel chooses: the one of socket `socket`, plus `delta`, stands at byte `at`.

    `is_sequence`: what the socket expects next from the client; else what acknowledges all that the socket has said.
    """

    at: int
    socket: int
    is_sequence: bool
    delta: int


@dataclass(frozen=True, slots=True)
class Packet:
    """A frame. `metadata`: bytes that a driver put before it, so that there is less room for headers.

    `early`: it comes before the world's changes.
    """

    data: bytes
    metadata: int = 0
    numbers: tuple[Number, ...] = ()
    early: bool = False
