"""A node's own settings: who it is, where its traffic comes in, its store and its routers.

Everything about VIPs, pools and backends is the fleet's (`fleet.yaml`), not a node's.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyAddress, model_validator

from lbnode.model.tunnel import Addresses
from lbnode.settings.source import FileSettings
from lbnode.settings.store import StoreSettings
from lbnode.settings.tls import ServerTlsSettings
from lbnode.settings.tunnel_ends import TunnelEnds

CLOSED = ConfigDict(extra="forbid", frozen=True)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")


def check_name(name: str) -> str:
    """Return `name` if it can be a key in the store and a part of a path."""
    if not NAME.fullmatch(name):
        raise ValueError("use 1 to 63 letters, digits, dots, dashes and underscores, no dot or dash in front")
    return name


Name = Annotated[str, AfterValidator(check_name)]


class XdpMode(Enum):
    """How the program is attached: by the driver, by the kernel's generic path, or the best that works."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


class NeighborSettings(BaseModel):
    """One router."""

    model_config = CLOSED

    address: IPvAnyAddress = Field(description="the router's address")
    peer_as: int = Field(ge=1, le=0xFFFFFFFF, description="the router's AS number")
    hold_time_s: int = Field(
        3, ge=3, le=65535, description="seconds of silence after which the session is dead"
    )
    md5_password_file: Path | None = Field(
        None, description="a file whose first line is the TCP MD5 password"
    )
    ttl_hops: int | None = Field(None, ge=1, le=254, description="hops to the router, for TTL security")
    next_hop: IPvAnyAddress | None = Field(
        None, description="this node's address of the other family; when absent, that in local_address"
    )


class BgpSettings(BaseModel):
    """What the node is to its routers."""

    model_config = CLOSED

    local_as: int = Field(ge=1, le=0xFFFFFFFF, description="this node's AS number")
    router_id: IPv4Address = Field(description="an IPv4 address of this node")
    local_address: TunnelEnds = Field(
        description="the address that sessions are opened from, or a list of one of each family: then routes of both"
    )
    neighbors: tuple[NeighborSettings, ...] = Field(min_length=1, description="the routers")
    adopt_s: float = Field(30.0, gt=0, description="seconds that routes outlive a dead daemon")


class RpcSettings(BaseModel):
    """Where operators ask."""

    model_config = CLOSED

    listen: tuple[str, ...] = Field(
        ("unix:/run/evenkeel/lbnode/rpc.sock",),
        min_length=1,
        description="unix:/path or host:port, one or a list; beyond loopback only with tls",
    )
    tls: ServerTlsSettings | None = Field(
        None, description="certificate, key and ca: mutual TLS on every host:port (lbctl certs makes them)"
    )
    insecure: bool = Field(
        False, description="true: beyond loopback without tls; whoever reaches the port may drain the fleet"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("listen"), str):
            return {**data, "listen": (data["listen"],)}
        return data


class MetricsSettings(BaseModel):
    """Where Prometheus scrapes."""

    model_config = CLOSED

    listen: str = Field("127.0.0.1:9464", description="host:port to serve metrics on")


class NodeSettings(FileSettings):
    """The settings of `lbnode`: a small YAML file, overruled by `EVENKEEL_…` in the environment."""

    name: Name = Field(description="this node's name, its key in the fleet")
    fleet: Name = Field(description="the fleet's name, the root of its records in the store")
    interface: str = Field(description="the interface on which the routers send traffic")
    address: TunnelEnds = Field(
        description="the tunnels' source address, or a list of one of each family; backends must reach them"
    )
    extra_addresses: tuple[IPvAnyAddress, ...] = Field(
        (), description="more source addresses of either family, to spread tunnels over"
    )
    store: StoreSettings = Field(description="kind: zookeeper with hosts, or kind: file with path")
    fleet_file: Path | None = Field(
        None, description="a fleet.yaml to watch and apply (one machine, kind: file)"
    )
    bgp: BgpSettings | None = Field(None, description="leave out to announce nothing (static routes)")
    rpc: RpcSettings = Field(RpcSettings(), description="where operators ask")
    metrics: MetricsSettings | None = Field(None, description="leave out to serve no metrics")
    state_dir: Path = Field(
        Path("/var/lib/evenkeel/lbnode"), description="keeps the last epochs over restarts"
    )
    run_dir: Path = Field(Path("/run/evenkeel/lbnode"), description="sockets and this instance's bpffs mount")
    leave_on_stop: bool = Field(
        False, description="true: SIGTERM also ends this node's membership (containers)"
    )
    xdp_mode: XdpMode = Field(XdpMode.AUTO, description="auto, native or generic")
    count_buckets: bool = Field(
        False, description="count packets per bucket: shows which node carries a flow"
    )
    table_places: int = Field(
        2 << 20, ge=1, description="buckets that all tables together may have, two areas a pool, 8 bytes each"
    )

    flow_places: int = Field(
        65536, ge=1, description="flows that pools with a flow table remember, 112 bytes each"
    )
    new_flow_places: int = Field(16384, ge=1, description="of new TCP flows, as a bound against floods")
    echoes_per_s: int = Field(
        10_000, ge=0, le=1_000_000_000, description="echo requests to VIPs that each CPU answers; 0: none"
    )
    errors_per_s: int = Field(
        1_000,
        ge=0,
        le=1_000_000_000,
        description="packets too big for a tunnel that each CPU answers; 0: none",
    )

    @property
    def sources(self) -> Addresses:
        """The addresses that this node's GRE comes from."""
        return (*self.address, *self.extra_addresses)
