"""Settings of `lbbackend`: a small YAML file and `EVENKEEL_…` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lbnode.dataplane.backend import TABLE_PLACES
from lbnode.model.fleet import MAX_WEIGHT
from lbnode.settings.source import FileSettings
from lbnode.settings.store import StoreSettings
from lbnode.settings.tunnel_ends import TunnelEnds

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$")]


class BackendSettings(FileSettings):
    """One backend's agent. `state_dir` and `run_dir` must differ between agents on one machine."""

    name: Name = Field(description="the backend's name, as fleet.yaml has it: letters, digits and ._-")
    fleet: Name = Field("evenkeel", description="the fleet's name: its root in the store")
    address: TunnelEnds = Field(
        description="where it takes GRE: an address, or a list of one of each family, as in fleet.yaml"
    )
    interface: str = Field(description="the interface where GRE comes in and answers go out")
    store: StoreSettings = Field(
        description="`kind: zookeeper` with `hosts`, or `kind: file` with `path` (one machine)"
    )
    state_dir: Path = Field(Path("/var/lib/evenkeel/backend"), description="one that survives reboots")
    run_dir: Path = Field(Path("/run/evenkeel/backend"), description="one that need not survive reboots")
    xdp_mode: Literal["auto", "native", "generic"] = Field(
        "auto", description="auto, native or generic; auto takes generic where the driver refuses native"
    )
    path_mtu: int | None = Field(
        None,
        ge=576,
        le=65535,
        description="bytes that a packet from a node may have; when absent, the interface's MTU. A way to another "
        "backend that takes less counts, too",
    )

    join: tuple[Name, ...] = Field(
        (), description="pools with `join: auto` that this backend asks to be let into"
    )
    weight: int = Field(1, ge=1, le=MAX_WEIGHT, description="its weight in the pools that it joins, 1..65535")
    leave_on_stop: bool = Field(
        False, description="true: SIGTERM drains this backend first, then frees its slots (containers)"
    )
    drain_s: float = Field(
        600.0, gt=0, le=86400, description="seconds that a leaving backend waits for its flows to end"
    )
    second_chance: bool = Field(
        True, description="false: deliver every packet, also of flows that another backend holds (to compare)"
    )
    table_places: int = Field(
        TABLE_PLACES, ge=1, description="buckets of all its pools' tables together, twice: current and next"
    )

    @property
    def bpf_dir(self) -> Path:
        """Where this instance's programs and maps are pinned."""
        return self.run_dir / "bpf"
