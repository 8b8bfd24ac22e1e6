"""What a node's kernel must hold: which tables to stage and switch, which VIPs and backends it knows.

Decides from the fleet's view and from what the kernel holds already; the kernel's side is
`lbnode.dataplane.NodeDataPlane`. A table that does not fit its epoch's digest is never installed: the old one
stays and the problem is named. Does not decide what the routers are told (`lbnode.core.announce`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lbnode.core.epochs import overlay
from lbnode.core.history import MissingEpochError, build_table, earlier_epochs
from lbnode.model.epoch import KNOWN_ALGORITHMS, Epoch
from lbnode.model.fleet import DesiredFleet, Pool, Vip
from lbnode.model.ids import BackendId, BackendName, EpochNumber, IPAddress, PoolName
from lbnode.model.members import LoadedEpoch
from lbnode.model.tunnel import TunnelFamily, tunnel_end
from lbnode.model.view import FleetView
from ring.table import Table


@dataclass(frozen=True, slots=True)
class StageTable:
    """Write `table` aside. `epoch` says what it was built from; `local`: it is this node's own view of one."""

    epoch: Epoch
    table: Table
    local: bool = False


@dataclass(frozen=True, slots=True)
class SwitchTable:
    """Let the table on stage carry the traffic of `pool`."""

    pool: PoolName


@dataclass(frozen=True, slots=True)
class DropPool:
    pool: PoolName


Command = StageTable | SwitchTable | DropPool


@dataclass(frozen=True, slots=True)
class PoolInKernel:
    """The epochs (as this node sees them, its own verdicts included) whose tables the kernel holds.

    `is_own`: this node's verdicts are on top of the current one. `left`: the epoch of a table that a daemon before
    this one left and that knows more than this one does yet; `digest` is then that table's.
    """

    staged: Epoch | None = None
    current: Epoch | None = None
    staged_digest: str = ""
    digest: str = ""
    problem: str = ""
    is_own: bool = False
    left: EpochNumber | None = None

    @property
    def carries_traffic(self) -> bool:
        """Whether VIPs may lead to the pool."""
        return self.current_number is not None

    @property
    def current_number(self) -> EpochNumber | None:
        """The number of the epoch that carries the traffic."""
        return self.left if self.current is None else self.current.number


@dataclass(slots=True)
class Forwarding:
    """Which table each pool should have in the kernel, and the commands that bring it there.

    `tunnels`: the families that this node has a source address of. `found`: epoch and digest of the tables that a
    daemon before this one left there. They are replaced by this one's own, and stay in use where the epoch of today
    cannot be. `standing`: the verdicts that counted when they last did.
    """

    tunnels: frozenset[TunnelFamily] = frozenset(TunnelFamily)
    pools: dict[PoolName, PoolInKernel] = field(default_factory=dict)
    found: Mapping[PoolName, tuple[EpochNumber, str]] = field(default_factory=dict)
    standing: dict[PoolName, Mapping[BackendName, bool]] = field(default_factory=dict)

    def handle(
        self,
        view: FleetView,
        by_own: bool,
        verdicts: Mapping[PoolName, Mapping[BackendName, bool]],
        in_use: Collection[PoolName] = (),
    ) -> list[Command]:
        """Return what to do to the kernel, in this order; afterwards `pools` is what the kernel holds.

        `by_own` says that the fleet cannot be reached, or has only just been: then this node's own `verdicts` count
        on top of the epoch, within the pool's cap; once it is reached, only those that did before, because the fleet
        hears of all others as soon. `in_use` are pools that a VIP in the kernel still points at: they stay.
        """
        commands = self._drop_gone(view, in_use)
        for pool in sorted({*view.current, *view.epochs}):
            commands += self._use_current(view, pool, by_own, verdicts.get(pool, {}))
            commands += self._stage_offered(view, pool)
        return commands

    def loaded(self) -> dict[PoolName, LoadedEpoch]:
        """Return what this node tells the fleet it has loaded: its acknowledgements."""
        return {
            pool: LoadedEpoch(
                staged=None if held.staged is None else held.staged.number,
                current=held.current_number,
                digest=held.digest,
                problem=held.problem,
                is_own=held.is_own,
            )
            for pool, held in self.pools.items()
        }

    def fail(self, pool: PoolName, before: PoolInKernel, problem: str) -> None:
        """Take back what `handle` assumed of a pool: the kernel refused, it still holds what it held `before`."""
        self.pools[pool] = replace(before, staged=None, problem=problem)

    def _drop_gone(self, view: FleetView, in_use: Collection[PoolName]) -> list[Command]:
        """Forget the pools that the fleet has no more."""
        gone = sorted(set(self.pools) - set(view.current) - set(view.epochs) - set(in_use))
        for pool in gone:
            del self.pools[pool]
        return [DropPool(pool) for pool in gone]

    def _use_current(
        self, view: FleetView, pool: PoolName, by_own: bool, verdicts: Mapping[BackendName, bool]
    ) -> list[Command]:
        """Bring the pool's current epoch into use, or this node's own view of it; what knows more stays."""
        epoch = view.current_epoch(pool)
        if epoch is None:
            return []
        target = localize(view, epoch, self._counting(view, pool, by_own, verdicts))
        if target == epoch and self._is_outdated(view, epoch, by_own):
            self.pools[pool] = _left(self.found[pool], epoch)
            return []
        return self._use(view, target, epoch)

    def _counting(
        self, view: FleetView, pool: PoolName, by_own: bool, verdicts: Mapping[BackendName, bool]
    ) -> Mapping[BackendName, bool]:
        """The verdicts that count: without the store all, and once it is reached those of them that still hold."""
        before = self.standing.pop(pool, {})
        if not by_own:
            return {}
        if view.connected:
            verdicts = {name: is_up for name, is_up in verdicts.items() if before.get(name) is is_up}
        self.standing[pool] = verdicts
        return verdicts

    def _stage_offered(self, view: FleetView, pool: PoolName) -> list[Command]:
        """Stage the epoch that the fleet offers after the current one, or the pool's first."""
        current, newest = view.current_epoch(pool), view.newest(pool)
        if newest is None or (current is not None and newest.number == current.number):
            return []
        return self._stage(view, newest) if view.connected or current is None else []

    def _is_outdated(self, view: FleetView, epoch: Epoch, by_own: bool) -> bool:
        """Whether what an earlier daemon left in the kernel knows more than a copy on disk.

        A later epoch does: only the store, or a verdict, takes it back. So does the same epoch with that daemon's
        verdicts on top, until this one has had time for its own.
        """
        number, digest = self.found.get(epoch.pool, (EpochNumber(0), ""))
        if view.connected or self.pools.get(epoch.pool, PoolInKernel()).current is not None:
            return False
        return number > epoch.number or (number == epoch.number and digest != epoch.digest and not by_own)

    def _use(self, view: FleetView, target: Epoch, epoch: Epoch) -> list[Command]:
        """Bring `target` into use; `epoch` is the fleet's own, whose digest must fit when the two are the same."""
        held = self.pools.get(target.pool, PoolInKernel())
        if held.current == target:
            return []
        commands: list[Command] = []
        if held.staged != target:
            commands += self._stage(view, target, epoch)
            held = self.pools[target.pool]
        if held.staged == target:
            self.pools[target.pool] = replace(
                held,
                staged=None,
                current=target,
                digest=held.staged_digest,
                is_own=target != epoch,
                left=None,
            )
            commands.append(SwitchTable(target.pool))
        return commands

    def _stage(self, view: FleetView, epoch: Epoch, base: Epoch | None = None) -> list[Command]:
        """Stage `epoch`, or this node's own view of `base`, whose owners are then the latest earlier ones."""
        is_own = base is not None and base != epoch
        held = self.pools.get(epoch.pool, PoolInKernel())
        if held.staged == epoch:
            return []
        problem = refusal(view, epoch) or self._missing_address(epoch)
        table: Table | None = None
        try:
            table = None if problem else build_table(epoch, _history(view, epoch, base))
        except MissingEpochError as error:
            problem = str(error)
        if table is not None and not is_own and table.digest() != epoch.digest:
            problem = (
                f"epoch {epoch.number}: own table's digest is {table.digest()}, the fleet's {epoch.digest}"
            )
        if problem or table is None:
            self.pools[epoch.pool] = replace(self._kept(view, epoch.pool), problem=problem)
            return []
        self.pools[epoch.pool] = replace(held, staged=epoch, staged_digest=table.digest(), problem="")
        return [StageTable(epoch, table, is_own)]

    def _kept(self, view: FleetView, pool: PoolName) -> PoolInKernel:
        """What carries the traffic of a pool as long as no newer table does; it must be the fleet's own."""
        held = self.pools.get(pool, PoolInKernel())
        number, digest = self.found.get(pool, (EpochNumber(0), ""))
        epoch = view.epochs.get(pool, {}).get(number)
        if held.current is not None or epoch is None or epoch.digest != digest:
            return held
        return replace(held, current=epoch, digest=digest, left=None)

    def _missing_address(self, epoch: Epoch) -> str:
        """Why this node cannot send what the epoch's tables lead to its backends, or an empty string."""
        if epoch.tunnel in self.tunnels:
            return ""
        family = epoch.tunnel.title
        remedy = "add one to its settings (address: [IPV4, IPV6])"
        return f"epoch {epoch.number} has {family} tunnels, and this node has no {family} address: {remedy}"


def _left(found: tuple[EpochNumber, str], epoch: Epoch) -> PoolInKernel:
    """What the kernel holds of a pool while the copy on disk, which ends at `epoch`, is older than its table."""
    number, digest = found
    problem = (
        f"epoch {number} is in the kernel and the copy on disk ends at epoch {epoch.number}: kept as it is"
    )
    return PoolInKernel(left=number, digest=digest, problem=problem if number > epoch.number else "")


def _history(view: FleetView, epoch: Epoch, base: Epoch | None) -> tuple[Epoch, ...]:
    earlier = earlier_epochs(view.epochs[epoch.pool], epoch)
    return (*earlier, base) if base is not None and base != epoch else earlier


def localize(view: FleetView, epoch: Epoch, verdicts: Mapping[BackendName, bool]) -> Epoch:
    """Return the epoch with this node's own verdicts on top, as it counts while the fleet is out of reach."""
    pool = find_pool(view.desired, epoch.pool)
    if pool is None or pool.health is None:
        return epoch
    ids = {name: member.id for name, member in view.backends.items()}
    up: dict[BackendId, bool] = {ids[name]: is_up for name, is_up in verdicts.items() if name in ids}
    return overlay(epoch, up, pool.health_cap_percent)


def refusal(view: FleetView, epoch: Epoch) -> str:
    """Return why this node must not load `epoch`, or an empty string."""
    if view.identity is not None and epoch.fleet != view.identity.uuid:
        return f"epoch {epoch.number} belongs to another fleet ({epoch.fleet})"
    if epoch.algorithm not in KNOWN_ALGORITHMS:
        return f"epoch {epoch.number} needs table algorithm {epoch.algorithm}, which this lbnode lacks: upgrade it"
    if view.identity is not None and epoch.key_id not in view.identity.keys:
        return f"epoch {epoch.number} hashes with key {epoch.key_id}, which the fleet does not have"
    return ""


def tunnel_ends(view: FleetView) -> Iterator[IPAddress]:
    """Yield where packets to backends may go: their addresses of the families that some pool's tunnels have."""
    families = {epoch.tunnel for epochs in view.epochs.values() for epoch in epochs.values()}
    families |= {pool.tunnel for pool in (view.desired.pools if view.desired is not None else ())}
    for member in view.backends.values():
        for family in families:
            end = tunnel_end(member.addresses, family)
            if end is not None:
                yield end


def find_pool(desired: DesiredFleet | None, name: PoolName) -> Pool | None:
    """Return the operator's definition of a pool."""
    pools = desired.pools if desired is not None else ()
    return next((pool for pool in pools if pool.name == name), None)


def vips_ready(view: FleetView, pools: Mapping[PoolName, PoolInKernel]) -> tuple[Vip, ...]:
    """Return the VIPs whose pool has a table in use: only these may be in the kernel."""
    vips = view.desired.vips if view.desired is not None else ()
    return tuple(vip for vip in vips if vip.pool in pools and pools[vip.pool].carries_traffic)
