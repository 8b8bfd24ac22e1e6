"""What the operator wants: VIPs, pools and backends, as `fleet.yaml` says them, already checked.

These are values. Reading and checking the file is `lbnode.settings`; deriving epochs from it is `lbnode.core.leader`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from lbnode.model.ids import BackendName, NodeName, PoolName, SlotNumber
from lbnode.model.tunnel import Addresses, TunnelFamily
from lbnode.model.vip import Protocol as Protocol
from lbnode.model.vip import Vip as Vip
from lbnode.model.vip import WrongPort as WrongPort

DEFAULT_TABLE_SIZE = 65537
DEFAULT_AFFINITY_WINDOW_S = 3600.0
"""How long earlier owners of a bucket stay among its alternates."""
DEFAULT_UDP_IDLE_S = 30.0
"""With a flow table: how long a planned change stays offered while nodes record flows."""
MAX_WEIGHT = 65535
MAX_SLOTS = 65535


class HashMode(Enum):
    """What of a packet its bucket depends on."""

    FLOW = "flow"
    SOURCE = "source"


class HashAlgorithm(Enum):
    """The keyed hash from packet to bucket (docs/adr/0004)."""

    MULTIPLY = "multiply"
    SIPHASH = "siphash"


class TableKind(Enum):
    """How a pool's tables are built; `maglev` (rebuilt from scratch) is for comparison."""

    HOME = "home"
    MAGLEV = "maglev"


class OnAllFailed(Enum):
    """What becomes of a pool's VIPs when health has failed every backend."""

    WITHDRAW = "withdraw"
    KEEP = "keep"


class Join(Enum):
    """Who comes into a pool: those that the operator lists, or also every backend that asks for it (docs/adr/0025)."""

    LISTED = "listed"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A TCP connect to the backend's tunnel address of the pool's family; times in seconds."""

    port: int
    interval_s: float = 1.0
    timeout_s: float = 1.0
    rise: int = 2
    fall: int = 3


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A backend's place in a pool. `slot` is None until the leader allots the lowest free number."""

    backend: BackendName
    weight: int = 1
    slot: SlotNumber | None = None


@dataclass(frozen=True, slots=True)
class QuicIds:
    """Backends mint QUIC connection ids that name them, and packets follow these (docs/quic.md)."""

    config_id: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """A named set of backends with one table.

    `affinity_window_s`, `udp_idle_s`: seconds. `flow_table`: nodes remember flows of changing buckets (UDP, and
    TCP to backends without the agent). `tunnel`: the family in which packets travel to its backends, each of which
    has an address of it. `quic`: None where connection ids name nobody.
    """

    name: PoolName
    members: tuple[PoolMember, ...]
    table_size: int = DEFAULT_TABLE_SIZE
    hash_mode: HashMode = HashMode.FLOW
    hash_algorithm: HashAlgorithm = HashAlgorithm.MULTIPLY
    health: HealthCheck | None = None
    health_cap_percent: int = 50
    on_all_failed: OnAllFailed = OnAllFailed.WITHDRAW
    affinity_window_s: float = DEFAULT_AFFINITY_WINDOW_S
    flow_table: bool = False
    udp_idle_s: float = DEFAULT_UDP_IDLE_S
    table: TableKind = TableKind.HOME
    join: Join = Join.LISTED
    tunnel: TunnelFamily = TunnelFamily.IPV4
    quic: QuicIds | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """One real server: its name and where it takes GRE.

    `agent`: `lbbackend` runs there, so the server gets no flows before it does. False for a stock kernel `gre` device.
    """

    name: BackendName
    addresses: Addresses
    agent: bool = True


@dataclass(frozen=True, slots=True)
class DesiredFleet:
    """All that the operator asked for, whole: the parsed `fleet.yaml`."""

    name: str
    backends: tuple[Backend, ...] = ()
    pools: tuple[Pool, ...] = ()
    vips: tuple[Vip, ...] = ()


@dataclass(frozen=True, slots=True)
class Intents:
    """What operators asked for by verb, kept apart from `fleet.yaml` so that `apply` never undoes a drain.

    `forced`: pool → the number of its newest epoch when an operator said `--force`: the epoch that follows exactly
    this one is not held by admission.
    """

    drained_nodes: tuple[NodeName, ...] = ()
    drained_backends: dict[PoolName, tuple[BackendName, ...]] = field(default_factory=dict)
    forced: dict[PoolName, int] = field(default_factory=dict)
