"""What the fleet's memory said meanwhile: epochs, ids of backends, the hash; and what admission held.

Epochs are read from a node's copy on disk, because the leader forgets old ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import numpy as np

from lbnode.lab.churn.report import Hold
from lbnode.lab.churn.stage import Order
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.plan import CHURN_PORT, POOL, VIP
from lbnode.lab.running import POLL_S, RunningLab
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import HashAlgorithm
from lbnode.model.fleet import Protocol as IpProtocol
from lbnode.model.flows import HeldChange
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.model.members import FleetIdentity
from lbnode.model.view import FleetView
from lbnode.store.copy import DiskCopy
from ring.bucket import BucketKeys, Flow, bucket_of, buckets_of, derive_keys, words_of

COPY_S = 10.0
"""How long a node may take to put the fleet on its disk: it waits a second for more news."""


class Memory:
    """Collects epochs and ids; look a few times a second."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab
        self._epochs: dict[EpochNumber, Epoch] = {}
        self._ids: dict[str, int] = {}
        self._read_at: dict[str, float] = {}

    def look(self, nodes: Sequence[str]) -> None:
        """Read the copies of `nodes` that have changed since the last look."""
        for node in nodes:
            path = DiskCopy(self._lab.directory(node) / "state").path
            try:
                changed_at = path.stat().st_mtime
            except FileNotFoundError:
                continue
            if self._read_at.get(node) != changed_at:
                self._read_at[node] = changed_at
                self._take(read_copy(self._lab, node))

    def id_of(self, backend: str) -> int:
        """The backend's id; 0 when it never had one."""
        return self._ids.get(backend, 0)

    def epoch_of(self, order: Order) -> int | None:
        """Return the number of the first epoch after the order in which what it promised holds."""
        promise = order.promise
        backend = self.id_of(promise.backend)
        for number in sorted(self._epochs):
            epoch = self._epochs[number]
            if epoch.created_at < order.at_clock:
                continue
            slot = next((slot for slot in epoch.slots if slot.backend == backend), None)
            if (
                slot is not None
                and promise.state in (None, slot.state)
                and promise.weight in (None, slot.weight)
            ):
                return number
        return None

    def _take(self, view: FleetView) -> None:
        self._epochs.update(view.epochs.get(PoolName(POOL), {}))
        self._ids.update({str(name): int(member.id) for name, member in view.backends.items()})


def read_copy(lab: RunningLab, node: str) -> FleetView:
    """Return what a node has on disk of the fleet. Raises LabError."""
    loaded = DiskCopy(lab.directory(node) / "state").load()
    if loaded.view is None:
        raise LabError(f"read the copy of {node}: {loaded.problem or 'there is none'}")
    return loaded.view


def await_epoch(copy: DiskCopy, whose: str, within_s: float = COPY_S) -> tuple[FleetIdentity, Epoch]:
    """Return the fleet and the pool's newest epoch as soon as they are in a copy. Raises OverdueError."""
    deadline = time.monotonic() + within_s
    while True:
        view = copy.load().view or FleetView()
        epoch = view.newest(PoolName(POOL))
        if view.identity is not None and epoch is not None:
            return view.identity, epoch
        if time.monotonic() > deadline:
            raise OverdueError(f"{whose} to have an epoch on its disk: not within {within_s:g} s")
        time.sleep(POLL_S)


def ports_by_bucket(lab: RunningLab, source: IPv4Address, ports: Sequence[int]) -> dict[int, int]:
    """Return port → bucket for those of `ports` whose flows to the drill's VIP have a bucket of their own."""
    node = lab.nodes[0].name
    identity, epoch = await_epoch(DiskCopy(lab.directory(node) / "state"), f"churn: {node}")
    keys = derive_keys(bytes.fromhex(identity.keys[epoch.key_id]), epoch.seed)
    flows = [Flow.between(source, port, VIP, CHURN_PORT, IpProtocol.TCP) for port in ports]
    by_bucket = dict(zip(_buckets(epoch, keys, flows), ports, strict=True))
    return {port: bucket for bucket, port in by_bucket.items()}


def _buckets(epoch: Epoch, keys: BucketKeys, flows: Sequence[Flow]) -> list[int]:
    mode, size = epoch.hash_mode.value, epoch.table_size
    if epoch.hash_algorithm is HashAlgorithm.MULTIPLY:
        return [int(bucket) for bucket in np.asarray(buckets_of(keys, mode, words_of(flows), size))]
    return [bucket_of(keys, epoch.hash_algorithm.value, mode, flow, size) for flow in flows]


@dataclass(slots=True)
class _Open:
    """A change that is being held."""

    hold: Hold
    since: float


class Holds:
    """What admission held, put together from looks at the status."""

    def __init__(self) -> None:
        self.seen: list[Hold] = []
        self._open: dict[str, _Open] = {}

    def look(self, held: Sequence[HeldChange]) -> None:
        """Take in what is held now."""
        now = time.monotonic()
        for change in held:
            waits = {str(name): count for name, count in change.waits_for.items()}
            entry = self._open.setdefault(change.what, _Open(Hold(change.what, 0.0, waits, now), now))
            most = {name: _more(entry.hold.waited_for.get(name), count) for name, count in waits.items()}
            entry.hold = replace(
                entry.hold, seconds=now - entry.since, waited_for={**entry.hold.waited_for, **most}
            )
        for what in self._open.keys() - {change.what for change in held}:
            self.seen.append(self._open.pop(what).hold)

    def all(self) -> tuple[Hold, ...]:
        """Return every hold, those included that have not ended."""
        return (*self.seen, *(entry.hold for entry in self._open.values()))


def _more(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)
