"""What a doctor found on a machine, as values: the arguments of every check."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from lbnode.model.ids import IPAddress

if TYPE_CHECKING:
    from lbnode.netdev.veth import VethPeer


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The kernel. `missing`: features that programs here need; `refused`: object → why it was not taken."""

    release: str
    has_btf: bool
    missing: tuple[str, ...]
    refused: dict[str, str]


@dataclass(frozen=True, slots=True)
class RightsFacts:
    """The capabilities of the daemon, or of who would start it. `pid` is None when none runs."""

    daemon: str
    pid: int | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BpffsFacts:
    """Where programs and maps live on without their daemon. `service`: the systemd unit that mounts it."""

    service: str
    directory: Path
    known_to_kernel: bool
    mounted: bool
    pinned: bool
    pid: int | None


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """The interface that carries the traffic.

    `mode` is "native", "generic" or "" (nothing attached); `wanted` what the settings ask for; `reason` why the daemon
    took generic, in its own words. `native_possible` is what the driver says of itself, None where it does not.
    `faces_clients`: what comes in are clients' own packets, not tunnels.
    `lost_on_the_way_back`: frames that XDP answered with and the driver lost, by the driver's own counters.
    """

    name: str
    service: str
    faces_clients: bool
    present: bool
    up: bool
    running: bool
    driver: str
    mtu: int
    mode: str
    wanted: str
    reason: str
    native_possible: bool | None
    lro: bool
    is_veth: bool
    peer: VethPeer | None
    lost_on_the_way_back: int


@dataclass(frozen=True, slots=True)
class PathFacts:
    """The way to one backend, from here. `interface` and `neighbour` are empty without a route.

    `has_neighbour`: its Ethernet address is known. `expected_mtu`: what interface and route say; `measured_mtu`: what
    got there, None when nothing was answered. `overhead`: bytes that the tunnel adds.
    """

    backend: str
    address: IPAddress
    interface: str
    neighbour: IPAddress | None
    has_neighbour: bool
    expected_mtu: int
    measured_mtu: int | None
    overhead: int


@dataclass(frozen=True, slots=True)
class SysctlFacts:
    """A backend's kernel settings: name → what it is, and what the agent wants it to be."""

    interface: str
    settings: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One ZooKeeper server. `trouble` is empty when it serves; `mode`: leader, follower or standalone, if it says."""

    host: str
    trouble: str
    mode: str


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The fleet's memory. `trouble` is empty when a session gave a whole view of `fleet` in time."""

    address: str
    trouble: str
    hosts: tuple[HostFacts, ...]
    records: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """This machine's clock. `ahead_s`: of `reference`, None when there is none; `doubt_s`: how exact that is.

    `is_synchronised`: the kernel's clock is kept by NTP or the like.
    """

    reference: str
    ahead_s: float | None
    doubt_s: float
    is_synchronised: bool


@dataclass(frozen=True, slots=True)
class DaemonWords:
    """What a daemon says of itself. `silent`: why it did not answer, and the rest is what it told the fleet last.

    `connected`: to the fleet's memory. `routers`: router's address → "up", or "down: why". `xdp`: interface → mode.
    """

    connected: bool
    alarms: tuple[str, ...] = ()
    routers: dict[str, str] = field(default_factory=dict)
    xdp: dict[str, str] = field(default_factory=dict)
    silent: str = ""

    def why_generic(self, interface: str) -> str:
        """Return why the daemon took generic XDP on an interface, where it says so."""
        return self.xdp.get(interface, "").removeprefix("generic").removeprefix(": ")


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """Whether the daemon runs (`pid`), and what it says of itself.

    `cannot_start`: where none runs, why one would end at once by its settings, secrets and certificates.
    """

    service: str
    pid: int | None
    words: DaemonWords
    cannot_start: str = ""


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """The addresses that a daemon's settings name, by setting, and those that this machine has."""

    service: str
    wanted: tuple[tuple[str, IPAddress], ...]
    own: frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A pool's table: the epoch and digest that the fleet goes by, and what is in this machine's kernel."""

    service: str
    pool: str
    fleet: tuple[int, str]
    kernel: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """A BGP neighbour: the session by the daemon's own word ("" when it says nothing), and what port 179 says.

    `contact` is empty when a TCP connection could be opened. `has_password`: TCP MD5, which silences such a try.
    """

    address: IPAddress
    peer_as: int
    local_as: int
    local_address: IPAddress
    session: str
    contact: str
    has_password: bool


class Outcome(Enum):
    """What became of a packet that was sent through a VIP to one backend."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    SILENT = "silent"
    NOT_SENT = "not sent"
    """The node's own program does not forward it."""
    NO_BUCKET = "no bucket"
    """No flow that was tried goes to this backend."""
    NO_ADDRESS = "no address"
    """This node has no address of the VIP's family to be answered at."""


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """One try. `is_finished`: the answer's checksum was right."""

    vip: str
    pool: str
    backend: str
    outcome: Outcome
    is_finished: bool = True


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A VIP that this backend takes packets for; `listening` is None where nobody can tell (UDP)."""

    vip: str
    pool: str
    on_lo: bool
    listening: bool | None


@dataclass(frozen=True, slots=True)
class ServingFacts:
    """A backend's end of the tunnel: decapsulation (`xdp`: its mode, or "detached"), MSS clamp, services."""

    interface: str
    xdp: str
    clamp: bool
    services: tuple[ServiceFacts, ...]
