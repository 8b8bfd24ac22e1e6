"""The way of one flow through the fleet, as a question and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.model.epoch import BackendState
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendName, EpochNumber, IPAddress, PoolName, SlotNumber


@dataclass(frozen=True, slots=True)
class FlowQuestion:
    """Which backend serves this flow? Addresses and ports as the client's packets carry them."""

    source: IPAddress
    source_port: int
    vip: IPAddress
    vip_port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Holder:
    """A backend that has, or may have, the flow. `name` is empty for one that has left the fleet.

    `address`: where the flow's packets go, of the family of the pool's tunnels.
    """

    id: int
    name: BackendName
    address: IPAddress | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the data plane does with the flow in the pool's current epoch.

    `vip` is the one that the flow belongs to, as operators write it.
    `home_state` is None when nobody sits in the home slot. `owner` is None when no backend takes new flows.
    `key` is the GRE key of the flow's packets; None when they carry none.
    """

    vip: str
    pool: PoolName
    epoch: EpochNumber
    hash_mode: HashMode
    hash_algorithm: HashAlgorithm
    table_size: int
    bucket: int
    home_slot: SlotNumber
    home: Holder | None
    home_state: BackendState | None
    owner: Holder | None
    alternates: tuple[Holder, ...]
    key: int | None
    stamp: int
