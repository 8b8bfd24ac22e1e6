"""This node's own health verdicts: probes of every backend that the fleet wants checked, judged one by one."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lbnode.core.health import Verdict, observe
from lbnode.core.joining import wanted_fleet
from lbnode.core.judged import judged
from lbnode.model.fleet import HealthCheck
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.tunnel import tunnel_end
from lbnode.model.view import FleetView
from lbnode.probe.tcp import Key, Target, TcpProber

log = structlog.get_logger()


def targets(view: FleetView) -> dict[Key, Target]:
    """Return whom to probe, and where: all that are judged in a pool with a health check, by the pool's tunnels."""
    wanted = wanted_fleet(view)
    if wanted is None:
        return {}
    addresses = {member.name: member.addresses for member in view.backends.values()}
    addresses |= {backend.name: backend.addresses for backend in wanted.backends}
    return {
        (pool.name, name): Target(end, pool.health)
        for pool in wanted.pools
        if pool.health is not None
        for name in judged(view, pool)
        if (end := tunnel_end(addresses[name], pool.tunnel)) is not None
    }


class HealthWatch:
    """Keeps a verdict for each target; calls `on_change` in the loop when one turns."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._checks: dict[Key, HealthCheck] = {}
        self._verdicts: dict[Key, Verdict] = {}
        self._prober = TcpProber(self._take)

    def follow(self, view: FleetView) -> None:
        """Probe whom the fleet judges by this view, and forget verdicts about everybody else."""
        wanted = targets(view)
        self._checks = {key: target.check for key, target in wanted.items()}
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key in wanted}
        self._prober.set_targets(wanted)

    def verdicts(self) -> dict[PoolName, dict[BackendName, bool]]:
        """Return the verdicts that have been reached: pool → backend → up."""
        reached: dict[PoolName, dict[BackendName, bool]] = {}
        for (pool, backend), verdict in sorted(self._verdicts.items()):
            if verdict.up is not None:
                reached.setdefault(pool, {})[backend] = verdict.up
        return reached

    async def close(self) -> None:
        """Stop probing."""
        await self._prober.close()

    def _take(self, pool: PoolName, backend: BackendName, success: bool, reason: str) -> None:
        key = (pool, backend)
        before = self._verdicts.get(key, Verdict())
        after = observe(before, success, self._checks[key])
        self._verdicts[key] = after
        if after.up is before.up:
            return
        log.info("health verdict", pool=pool, backend=backend, up=after.up, reason=reason)
        self._on_change()
