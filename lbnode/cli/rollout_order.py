"""Whose turn it is in a rollout: slot order, in batches, from where the operator says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName, IPAddress
from lbnode.model.status import AgentState, PoolStatus
from lbnode.model.tunnel import Addresses, describe


@dataclass(frozen=True, slots=True)
class Successor:
    """The machine that takes over a slot; without addresses one that the fleet has already."""

    name: BackendName
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Target:
    """A backend to restart, or to replace by its `successor`. `drains`: it did so before the rollout."""

    name: BackendName
    address: IPAddress | None
    has_agent: bool
    drains: bool
    successor: Successor | None = None

    def __str__(self) -> str:
        if self.successor is None:
            return self.name
        where = f" ({describe(self.successor.addresses)})" if self.successor.addresses else ""
        return f"{self.name} → {self.successor.name}{where}"


def order(
    pool: PoolStatus, start: BackendName | None, successors: Mapping[BackendName, Successor] | None
) -> list[Target]:
    """Return the backends of a pool in slot order from `start` on; with `successors` only those that have one."""
    targets = [
        Target(
            slot.backend,
            slot.address,
            slot.agent is not AgentState.NONE,
            slot.state is BackendState.DRAINING,
            successors.get(slot.backend) if successors is not None else None,
        )
        for slot in pool.slots
        if slot.backend is not None
    ]
    names = [target.name for target in targets]
    begin = names.index(start) if start is not None else 0
    return [target for target in targets[begin:] if successors is None or target.successor is not None]


def split_skipped(
    targets: Sequence[Target], start: str, successors: Collection[BackendName] | None
) -> tuple[list[Target], list[Target]]:
    """Return whose turn it is, and who is left alone: drained by an operator, unless the rollout begins there."""
    if successors is not None:
        return list(targets), []
    skipped = [target for target in targets if target.drains and target.name != start]
    return [target for target in targets if target not in skipped], skipped


def in_batches(targets: Sequence[Target], size: int) -> list[list[Target]]:
    """Return `targets` in groups of at most `size`."""
    return [list(targets[begin : begin + size]) for begin in range(0, len(targets), size)]
