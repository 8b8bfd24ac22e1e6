"""The node's kernel brought to what the fleet says: backends, tables and VIPs, in the order that loses no packet.

Backends before the tables that name them, tables before the VIPs that lead to them; a VIP leaves the kernel only
after the routers have stopped sending for its address.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog

from lbnode.core.forwarding import (
    DropPool,
    Forwarding,
    PoolInKernel,
    StageTable,
    SwitchTable,
    find_pool,
    tunnel_ends,
    vips_ready,
)
from lbnode.core.lateness import Lateness
from lbnode.core.vips import digest_of
from lbnode.daemon.hops import NextHops
from lbnode.daemon.pool_table import pool_table
from lbnode.daemon.tunnels import backend_entry
from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.values import BackendEntry, VipEntry
from lbnode.model.fleet import Vip, WrongPort
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.members import LoadedEpoch
from lbnode.model.tunnel import Addresses, families_of
from lbnode.model.view import FleetView
from lbnode.model.vip import VipAddress

log = structlog.get_logger()


class Kernel:
    """What one node's data plane holds, and the way to change it."""

    def __init__(self, plane: NodeDataPlane, hops: NextHops, sources: Addresses) -> None:
        self._plane = plane
        self._hops = hops
        held = {pool: tables.current for pool, tables in plane.tables().items()}
        found = {pool: table for pool, table in held.items() if table is not None}
        self._found = {pool: table.epoch for pool, table in found.items()}
        self._forwarding = Forwarding(
            families_of(sources),
            found={pool: (table.epoch, table.digest) for pool, table in found.items()},
        )
        self._lateness = Lateness()
        self._backends: tuple[BackendEntry, ...] | None = None
        self._vips: tuple[Vip, ...] | None = None
        self._served: tuple[Vip, ...] = ()
        self._vips_digest = digest_of(())
        self._told: dict[PoolName, str] = {}
        self.problem = ""
        """What the kernel refused last and still refuses, or an empty string."""
        self.waits_for = "no pass yet" if plane.is_waiting else ""
        """Why packets still go by the maps of another making, or an empty string."""

    @property
    def pools(self) -> Mapping[PoolName, PoolInKernel]:
        """The tables that are in the kernel."""
        return self._forwarding.pools

    def loaded(self) -> dict[PoolName, LoadedEpoch]:
        """Return what this node acknowledges to the fleet: nothing while packets go by other maps than these."""
        if self.waits_for:
            return {}
        late = self._lateness.pools
        return {pool: replace(held, late=late.get(pool)) for pool, held in self._forwarding.loaded().items()}

    def vips(self) -> str:
        """Return the digest of the VIPs that packets are taken for here; empty while packets go by other maps."""
        return "" if self.waits_for else self._vips_digest

    def follow(
        self,
        view: FleetView,
        by_own: bool,
        verdicts: Mapping[PoolName, Mapping[BackendName, bool]],
        announced: Collection[VipAddress],
    ) -> None:
        """Bring the kernel to `view`, for which it is prepared. `announced`: what routers still send for."""
        try:
            self._follow(view, by_own, verdicts, announced)
        except DataPlaneError as error:
            if str(error) != self.problem:
                log.error("kernel", problem=str(error))
            self.problem = str(error)
        else:
            self.problem = ""

    def take_over(self, view: FleetView, by_own: bool) -> bool:
        """Let packets go by this daemon's maps as soon as nothing that `view` has is missing; True when they begin to.

        Another release's maps cannot be read: that they know no more than these is certain only when these are whole.
        """
        if not self._plane.is_waiting:
            return False
        before, self.waits_for = self.waits_for, self._lack(view, by_own) or self._refusal()
        if not self.waits_for:
            log.info("took over from the maps of another making", interfaces=len(self._plane.replaced))
        elif self.waits_for != before:
            log.warning("packets go by an earlier lbnode's tables", waits_for=self.waits_for)
        return not self.waits_for

    def _refusal(self) -> str:
        """Take over; return why the kernel would not, or an empty string."""
        try:
            self._plane.take_over()
        except DataPlaneError as error:
            return str(error)
        return ""

    def _lack(self, view: FleetView, by_own: bool) -> str:
        """What is missing before the maps can carry traffic, or an empty string."""
        if self.problem:
            return self.problem
        if view.identity is None:
            return "nothing is known of the fleet yet"
        if not view.connected and not by_own:
            return "the store is out of reach, and this node has no verdicts of its own yet"
        held = self._forwarding.pools
        lacking = [pool for pool in sorted(view.current) if held.get(pool, PoolInKernel()).current is None]
        return f"no table yet of {', '.join(lacking)}" if lacking else ""

    def is_prepared(self, view: FleetView) -> bool:
        """Whether next hops to exactly the backends of `view` are being followed."""
        return self._hops.followed == set(tunnel_ends(view))

    async def prepare(self, view: FleetView) -> None:
        """Look up next hops to the backends of `view`; `follow` does not wait for the network any more."""
        await self._hops.follow(tunnel_ends(view))

    def _follow(
        self,
        view: FleetView,
        by_own: bool,
        verdicts: Mapping[PoolName, Mapping[BackendName, bool]],
        announced: Collection[VipAddress],
    ) -> None:
        before = dict(self._forwarding.pools)
        in_use = {vip.pool for vip in self._vips or ()}
        commands = self._forwarding.handle(view, by_own, verdicts, in_use)
        self._report_problems()
        if not any(held.left is not None for held in self.pools.values()):
            self._set_backends(view)
        refused: set[PoolName] = set()
        for command in commands:
            self._carry_out(command, view, before, refused)
        ready = vips_ready(view, self.pools)
        self._set_vips((*ready, *self._leavers(ready, announced)))
        if ready != self._served:
            self._served, self._vips_digest = ready, digest_of(ready)

    def _carry_out(
        self,
        command: StageTable | SwitchTable | DropPool,
        view: FleetView,
        before: Mapping[PoolName, PoolInKernel],
        refused: set[PoolName],
    ) -> None:
        pool = command.epoch.pool if isinstance(command, StageTable) else command.pool
        if pool in refused:
            return
        was = before.get(pool, PoolInKernel())
        try:
            match command:
                case StageTable():
                    self._stage(command, view)
                case SwitchTable():
                    self._plane.switch(pool)
                    log.info("table in use", pool=pool, epoch=self.pools[pool].current_number)
                    left = was.current_number or self._found.get(pool)
                    self._lateness.switched(pool, left, view.epochs.get(pool, {}), time.time())
                case DropPool():
                    self._plane.drop_pool(pool)
                    log.info("pool dropped", pool=pool)
        except DataPlaneError as error:
            refused.add(pool)
            log.error("table refused by the kernel", pool=pool, error=str(error))
            self._forwarding.fail(pool, was, str(error))

    def _stage(self, command: StageTable, view: FleetView) -> None:
        assert view.identity is not None
        wanted = find_pool(view.desired, command.epoch.pool)
        flow_table = wanted is not None and wanted.flow_table
        quic = wanted.quic if wanted is not None else None
        self._plane.stage(
            pool_table(command.epoch, command.table, view.identity, flow_table, command.local, quic)
        )

    def _set_backends(self, view: FleetView) -> None:
        entries = tuple(
            backend_entry(member, self._hops)
            for member in sorted(view.backends.values(), key=lambda member: member.id)
        )
        if entries != self._backends:
            self._plane.set_backends(entries)
            self._backends = entries

    def _leavers(self, ready: Collection[Vip], announced: Collection[VipAddress]) -> list[Vip]:
        """The VIPs to hold besides those whose tables are in use: routers still send for their addresses."""
        kept = {vip.address for vip in ready}
        return [vip for vip in self._vips or () if vip.address in announced and vip.address not in kept]

    def _set_vips(self, vips: tuple[Vip, ...]) -> None:
        if vips == self._vips:
            return
        self._plane.set_vips(
            [
                VipEntry(vip.address, vip.protocol, vip.port, vip.pool, vip.wrong_port is WrongPort.PASS)
                for vip in vips
            ]
        )
        self._vips = vips
        log.info("vips in the kernel", count=len(vips))

    def _report_problems(self) -> None:
        """Log each problem of a pool once when it appears, and once when it is over."""
        problems = {pool: held.problem for pool, held in self.pools.items() if held.problem}
        for pool, problem in problems.items():
            if self._told.get(pool) != problem:
                log.error("table kept back", pool=pool, problem=problem)
        for pool in set(self._told) - set(problems):
            log.info("table problem is over", pool=pool)
        self._told = problems
