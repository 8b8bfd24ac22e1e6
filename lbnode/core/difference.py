"""What changes between two desired fleets, as an operator reads it.

Decides what counts as a change, and which changes are none because a property is fixed for a pool's life
(design.md §3). Does not decide whether a change may be made now: that is `lbnode.core.control`. The order of
lists means nothing: a table depends on slots, not on the order in which a file names their occupants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from lbnode.model.fleet import Backend, DesiredFleet, HealthCheck, Join, Pool, PoolMember, QuicIds, Vip
from lbnode.model.requests import Change, Difference, Refusal, RefusalKind
from lbnode.model.tunnel import TunnelFamily, describe

Key = TypeVar("Key")
Thing = TypeVar("Thing")

FIXED = ("table_size", "hash_mode", "hash_algorithm")
SETTINGS = (
    "health_cap_percent", "on_all_failed", "affinity_window_s", "flow_table", "udp_idle_s", "table", "join",
    "tunnel", "quic",
)  # fmt: skip
KEYS = {"hash_mode": "hash"}
"""The keys of fleet.yaml that differ from the names of the model."""


def compare(old: DesiredFleet, new: DesiredFleet) -> tuple[Difference, ...]:
    """Return what makes `new` of `old`: backends, then pools with their members, then VIPs."""
    return (
        *_compare_backends(old, new),
        *_compare_pools(old, new),
        *_compare_vips(old, new),
    )


def fixed_changes(old: DesiredFleet, new: DesiredFleet) -> Refusal | None:
    """Return a refusal if a pool of both fleets differs in what is fixed for its life."""
    pools = {pool.name: pool for pool in old.pools}
    reasons = [
        f"pool {pool.name}: {_key(field)} {_show(before)} → {_show(after)}: it is fixed for a pool's life"
        for pool in new.pools
        if pool.name in pools
        for field in FIXED
        if (before := getattr(pools[pool.name], field)) != (after := getattr(pool, field))
    ]
    if not reasons:
        return None
    remedy = "make a new pool with another name, point the VIP at it, and remove the old one later"
    return Refusal(RefusalKind.INVALID, "\n".join(reasons), remedy)


def describe_backend(backend: Backend) -> str:
    """Return where a backend is, and what is special about it."""
    where = describe(backend.addresses)
    return where if backend.agent else f"{where}, without agent"


def _compare_backends(old: DesiredFleet, new: DesiredFleet) -> Iterator[Difference]:
    olds: Mapping[str, Backend] = {backend.name: backend for backend in old.backends}
    news: Mapping[str, Backend] = {backend.name: backend for backend in new.backends}
    for name, before, after in _pairs(olds, news):
        subject = f"backend {name}"
        if before is None and after is not None:
            yield Difference(Change.ADDED, subject, describe_backend(after))
        elif after is None:
            yield Difference(Change.REMOVED, subject)
        elif before is not None and before.addresses != after.addresses:
            change = f"address {describe(before.addresses)} → {describe(after.addresses)}"
            yield Difference(Change.CHANGED, subject, change)
        elif before is not None and before.agent != after.agent:
            yield Difference(Change.CHANGED, subject, f"agent {_yes(before.agent)} → {_yes(after.agent)}")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _compare_pools(old: DesiredFleet, new: DesiredFleet) -> Iterator[Difference]:
    olds: Mapping[str, Pool] = {pool.name: pool for pool in old.pools}
    news: Mapping[str, Pool] = {pool.name: pool for pool in new.pools}
    for name, before, after in _pairs(olds, news):
        subject = f"pool {name}"
        if before is None and after is not None:
            yield Difference(Change.ADDED, subject, _describe_pool(after))
        elif after is None:
            yield Difference(Change.REMOVED, subject)
        elif before is not None:
            yield from _compare_pool(subject, before, after)


def _compare_pool(subject: str, old: Pool, new: Pool) -> Iterator[Difference]:
    changes = [
        f"{_key(field)} {_show(before)} → {_show(after)}"
        for field in (*FIXED, *SETTINGS)
        if (before := getattr(old, field)) != (after := getattr(new, field))
    ]
    if old.health != new.health:
        changes.append(f"health {_describe_health(old.health)} → {_describe_health(new.health)}")
    if changes:
        yield Difference(Change.CHANGED, subject, ", ".join(changes))
    olds: Mapping[str, PoolMember] = {member.backend: member for member in old.members}
    news: Mapping[str, PoolMember] = {member.backend: member for member in new.members}
    for name, before_member, after_member in _pairs(olds, news):
        yield from _compare_member(f"{subject}, backend {name}", before_member, after_member)


def _compare_member(subject: str, old: PoolMember | None, new: PoolMember | None) -> Iterator[Difference]:
    if old is None and new is not None:
        slot = "" if new.slot is None else f", slot {new.slot}"
        yield Difference(Change.ADDED, subject, f"weight {new.weight}{slot}")
    elif new is None:
        yield Difference(Change.REMOVED, subject)
    elif old is not None and old != new:
        changes = [f"weight {old.weight} → {new.weight}"] if old.weight != new.weight else []
        if old.slot != new.slot:
            changes.append(f"slot {_describe_slot(old)} → {_describe_slot(new)}")
        yield Difference(Change.CHANGED, subject, ", ".join(changes))


def _compare_vips(old: DesiredFleet, new: DesiredFleet) -> Iterator[Difference]:
    olds = {str(vip.key): vip for vip in old.vips}
    news = {str(vip.key): vip for vip in new.vips}
    for name, before, after in _pairs(olds, news):
        subject = f"vip {name}"
        if before is None and after is not None:
            yield Difference(Change.ADDED, subject, f"to pool {after.pool}")
        elif after is None:
            yield Difference(Change.REMOVED, subject)
        elif before is not None and before != after:
            yield Difference(Change.CHANGED, subject, _describe_vip_change(before, after))


def _pairs(
    old: Mapping[str, Thing], new: Mapping[str, Thing]
) -> Iterator[tuple[str, Thing | None, Thing | None]]:
    """Yield every name with what it was and what it will be: in the new order, then what is gone."""
    for name in [*new, *(name for name in old if name not in new)]:
        yield name, old.get(name), new.get(name)


def _describe_vip_change(old: Vip, new: Vip) -> str:
    changes = [f"pool {old.pool} → {new.pool}"] if old.pool != new.pool else []
    if old.wrong_port != new.wrong_port:
        changes.append(f"wrong_port {old.wrong_port.value} → {new.wrong_port.value}")
    return ", ".join(changes)


def _describe_pool(pool: Pool) -> str:
    members = [
        member.backend if member.weight == 1 else f"{member.backend} (weight {member.weight})"
        for member in pool.members
    ]
    shown = ", ".join(members[:8]) + (f" and {len(members) - 8} more" if len(members) > 8 else "")
    if pool.join is Join.AUTO:
        shown = f"{shown} and whoever joins" if shown else "whoever joins"
    hashing = f"hash {pool.hash_mode.value} by {pool.hash_algorithm.value}"
    tunnel = "" if pool.tunnel is TunnelFamily.IPV4 else f", tunnel {pool.tunnel.value}"
    return f"{shown}; table_size {pool.table_size}, {hashing}{tunnel}"


def _describe_health(health: HealthCheck | None) -> str:
    if health is None:
        return "off"
    return (
        f"tcp {health.port} every {health.interval_s:g} s (timeout {health.timeout_s:g} s, "
        f"rise {health.rise}, fall {health.fall})"
    )


def _describe_slot(member: PoolMember) -> str:
    return "automatic" if member.slot is None else str(member.slot)


def _key(field: str) -> str:
    return KEYS.get(field, field)


def _show(value: object) -> str:
    if isinstance(value, QuicIds):
        return f"config_id {value.config_id}"
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
