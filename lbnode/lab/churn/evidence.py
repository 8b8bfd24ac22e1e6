"""What happened to the flows behind their backs, and when the kernels had what. Pure: sightings in, answers out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbnode.lab.churn.sightings import OTHER_TABLE, Sightings, Switch

Flags = NDArray[np.bool_]
"""One for each flow."""
Span = tuple[str, float, float]
"""A node, and from when until when something held of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """The flows as columns, one entry a flow: bucket, and from when to when it was alive (monotonic seconds)."""

    buckets: NDArray[np.uint32]
    opened: NDArray[np.float64]
    ended: NDArray[np.float64]


def changed_node(spans: Spans, sightings: Sightings) -> Flags:
    """Tell which flows' packets went through more than one node.

    Flows with the same bucket follow each other at a distance of minutes, so all packets of a bucket in the samples
    that touch a flow's life are the flow's.
    """
    buckets = np.concatenate([np.zeros(0, np.uint32), *(sample.buckets for sample in sightings.samples)])
    nodes = np.concatenate([np.zeros(0, np.uint32), *(sample.nodes for sample in sightings.samples)])
    times = np.array([sample.at for sample in sightings.samples])
    turns = np.repeat(np.arange(len(times)), [len(sample.buckets) for sample in sightings.samples])
    keys = buckets.astype(np.int64) * (len(times) + 1) + turns
    order = np.argsort(keys)
    keys, nodes = keys[order], nodes[order]
    start = spans.buckets.astype(np.int64) * (len(times) + 1)
    first = np.searchsorted(keys, start + np.searchsorted(times, spans.opened, side="right"), side="left")
    last = np.searchsorted(keys, start + np.searchsorted(times, spans.ended, side="left"), side="right")
    seen = (np.bitwise_or.reduce(nodes[a:b]) if a < b else 0 for a, b in zip(first, last, strict=True))
    return np.fromiter((int(mask).bit_count() > 1 for mask in seen), dtype=np.bool_, count=len(spans.buckets))


def changed_owner(spans: Spans, sightings: Sightings, isolated: Collection[str] = ()) -> Flags:
    """Tell which flows' bucket got another owner while they were alive; what `isolated` nodes use is left aside."""
    changed = np.zeros(len(spans.buckets), dtype=np.bool_)
    before = None
    for switch in _first_switches(sightings.switches, isolated):
        owners = sightings.tables[switch.epoch][:, 0]
        if before is not None:
            moved = owners != before
            alive = (spans.opened < switch.at) & (spans.ended > switch.at)
            changed |= alive & moved[spans.buckets]
        before = owners
    return changed


def owned_by(bucket: int, backend: int, since: float, until: float, sightings: Sightings) -> bool:
    """True when some node's table gave the bucket to the backend at some time between `since` and `until`."""
    current: dict[str, Switch] = {}
    for switch in sightings.switches:
        if switch.at > until:
            break
        if switch.at > since and _owns(switch, bucket, backend, sightings):
            return True
        if switch.at <= since:
            current[switch.node] = switch
    return any(_owns(switch, bucket, backend, sightings) for switch in current.values())


@dataclass(frozen=True, slots=True)
class Place:
    """What a node's table said of one bucket from `at` on: owner, first and second alternate."""

    at: float
    node: str
    epoch: int
    backends: tuple[int, ...]


def places_of(bucket: int, since: float, until: float, sightings: Sightings) -> list[Place]:
    """Return what each node's table said of a bucket at `since`, and wherever that changed until `until`."""
    before: dict[str, Place] = {}
    after: list[Place] = []
    last: dict[str, tuple[int, ...]] = {}
    for switch in sightings.switches:
        table = sightings.tables.get(switch.epoch)
        backends = () if table is None else tuple(table[bucket].tolist())
        if switch.at > until or last.get(switch.node) == backends:
            continue
        last[switch.node] = backends
        place = Place(switch.at, switch.node, switch.epoch, backends)
        if switch.at <= since:
            before[switch.node] = place
        else:
            after.append(place)
    return [*before.values(), *after]


def everywhere_at(epoch: int, nodes: Iterable[str], switches: Sequence[Switch]) -> float | None:
    """Return when the last of `nodes` had `epoch` or a later one in its kernel; None: one never did."""
    times = []
    for node in nodes:
        at = next((s.at for s in switches if s.node == node and s.epoch % OTHER_TABLE >= epoch), None)
        if at is None:
            return None
        times.append(at)
    return max(times, default=None)


def first_seen(node: str, switches: Sequence[Switch]) -> float:
    """When the node's kernel had its first table."""
    return next((s.at for s in switches if s.node == node), float("inf"))


def present_at(at: float, missing: Iterable[Span], sightings: Sightings) -> set[str]:
    """Return the nodes whose kernels had a table before `at` and that were not `missing` then."""
    away = {node for node, since, until in missing if since <= at <= until}
    return {node for node in sightings.nodes if first_seen(node, sightings.switches) < at} - away


def differing(switches: Sequence[Switch], isolated: Collection[str]) -> list[Switch]:
    """Return the switches to a table that another node had otherwise under the same number."""
    return [s for s in switches if s.epoch > OTHER_TABLE and s.node not in isolated]


def free_of(backend: int, since: float, nodes: Collection[str], sightings: Sightings) -> float | None:
    """Return when, after `since`, no kernel of `nodes` gave the backend any bucket any more; None: never."""
    owning: set[str] = set(nodes)
    for switch in sightings.switches:
        if switch.node not in nodes:
            continue
        owns = switch.epoch > 0 and bool((sightings.tables[switch.epoch][:, 0] == backend).any())
        (owning.add if owns else owning.discard)(switch.node)
        if switch.at > since and not owning:
            return switch.at
    return None


def shares(packets: Mapping[str, int]) -> dict[str, float]:
    """Return each node's fraction of all packets."""
    total = sum(packets.values()) or 1
    return {node: count / total for node, count in packets.items()}


def _first_switches(switches: Sequence[Switch], isolated: Collection[str]) -> Iterable[Switch]:
    """The first switch to each epoch, in the order of the epochs."""
    newest = 0
    for switch in switches:
        if switch.node not in isolated and newest < switch.epoch < OTHER_TABLE:
            newest = switch.epoch
            yield switch


def _owns(switch: Switch, bucket: int, backend: int, sightings: Sightings) -> bool:
    return switch.epoch > 0 and int(sightings.tables[switch.epoch][bucket, 0]) == backend
