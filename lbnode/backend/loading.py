"""Which tables a backend's kernel must hold: of each pool that of the newest epoch there is. Pure.

A backend loads an epoch as soon as it is offered and goes by it at once: nodes use it only afterwards, and what
still comes from a node that is behind is looked up among the sockets, then passed on along the newer table
(docs/adr/0010). A table that does not fit its epoch's digest is never loaded: the old one stays, the problem is
named.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from lbnode.core.forwarding import find_pool, refusal
from lbnode.core.history import MissingEpochError, build_table, earlier_epochs
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import QuicIds
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.model.members import FleetIdentity
from lbnode.model.view import FleetView
from ring.table import Table


@dataclass(frozen=True, slots=True)
class LoadTable:
    """Let `table` be the pool's, at once."""

    identity: FleetIdentity
    epoch: Epoch
    table: Table
    quic: QuicIds | None = None


@dataclass(frozen=True, slots=True)
class DropPool:
    """Forget a pool and its table."""

    pool: PoolName


@dataclass(slots=True)
class Loading:
    """`loaded`: the epochs in the kernel, `digests` their tables'; what an earlier agent left counts.

    `problems`: why a pool keeps an older table, by pool.
    """

    loaded: dict[PoolName, EpochNumber] = field(default_factory=dict)
    digests: dict[PoolName, str] = field(default_factory=dict)
    problems: dict[PoolName, str] = field(default_factory=dict)
    _uncertain: bool = False

    def handle(self, view: FleetView, pools: Collection[PoolName]) -> list[LoadTable | DropPool]:
        """Return what brings the kernel to the newest epochs of `pools`; afterwards `loaded` says so."""
        commands: list[LoadTable | DropPool] = []
        for pool in sorted(set(pools) & set(view.epochs)):
            epoch = view.newest(pool)
            if epoch is not None and self._is_due(view, epoch):
                commands += self._load(view, epoch)
        for pool in sorted(set(self.loaded) - set(pools)):
            del self.loaded[pool]
            self.problems.pop(pool, None)
            commands.append(DropPool(pool))
        self._uncertain = False
        return commands

    def forget(self) -> None:
        """The kernel may not hold what was asked for: ask again."""
        self._uncertain = True

    def _is_due(self, view: FleetView, epoch: Epoch) -> bool:
        """A copy on disk may be older than what the kernel has: only the store takes a table back."""
        loaded = self.loaded.get(epoch.pool)
        if loaded is None or (self._uncertain and loaded == epoch.number):
            return True
        if loaded == epoch.number:
            return self.digests.get(epoch.pool) != epoch.digest
        return view.connected or epoch.number > loaded

    def _load(self, view: FleetView, epoch: Epoch) -> list[LoadTable | DropPool]:
        assert view.identity is not None
        problem, table = _build(view, epoch)
        if table is None:
            self.problems[epoch.pool] = problem
            return []
        self.problems.pop(epoch.pool, None)
        self.loaded[epoch.pool] = epoch.number
        self.digests[epoch.pool] = epoch.digest
        wanted = find_pool(view.desired, epoch.pool)
        return [LoadTable(view.identity, epoch, table, wanted.quic if wanted is not None else None)]


def _build(view: FleetView, epoch: Epoch) -> tuple[str, Table | None]:
    """Return the table of an epoch, or why there is none."""
    problem = refusal(view, epoch)
    if problem:
        return f"pool {epoch.pool}: {problem}", None
    try:
        table = build_table(epoch, earlier_epochs(view.epochs[epoch.pool], epoch))
    except MissingEpochError as error:
        return str(error), None
    if table.digest() != epoch.digest:
        return (
            f"pool {epoch.pool}: epoch {epoch.number}: own table's digest is {table.digest()}, "
            f"the fleet's {epoch.digest}",
            None,
        )
    return "", table
