"""A `DesiredFleet` as the text of a fleet.yaml that reads back as the same fleet."""

from __future__ import annotations

from typing import Any

import yaml

from lbnode.model.fleet import Backend, DesiredFleet, HealthCheck, Pool, PoolMember, Vip, WrongPort

_DEFAULTS = Pool("", ())  # type: ignore[arg-type]


def write_fleet(desired: DesiredFleet) -> str:
    """Return the text. Defaults are left out, but for health: what is checked is always spelled out."""
    document = {
        "fleet": desired.name,
        "backends": [_backend(one) for one in desired.backends],
        "pools": [_pool(pool) for pool in desired.pools],
        "vips": [_vip(vip) for vip in desired.vips],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _backend(backend: Backend) -> dict[str, Any]:
    addresses = [str(address) for address in backend.addresses]
    written: dict[str, Any] = {
        "name": str(backend.name),
        "address": addresses if len(addresses) > 1 else addresses[0],
    }
    return written if backend.agent else {**written, "agent": False}


def _pool(pool: Pool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": str(pool.name), "backends": [_member(one) for one in pool.members]}
    settings = {
        "table_size": (pool.table_size, _DEFAULTS.table_size),
        "hash": (pool.hash_mode.value, _DEFAULTS.hash_mode.value),
        "hash_algorithm": (pool.hash_algorithm.value, _DEFAULTS.hash_algorithm.value),
        "health_cap_percent": (pool.health_cap_percent, _DEFAULTS.health_cap_percent),
        "on_all_failed": (pool.on_all_failed.value, _DEFAULTS.on_all_failed.value),
        "affinity_window_s": (pool.affinity_window_s, _DEFAULTS.affinity_window_s),
        "flow_table": (pool.flow_table, _DEFAULTS.flow_table),
        "udp_idle_s": (pool.udp_idle_s, _DEFAULTS.udp_idle_s),
        "table": (pool.table.value, _DEFAULTS.table.value),
        "join": (pool.join.value, _DEFAULTS.join.value),
        "tunnel": (pool.tunnel.value, _DEFAULTS.tunnel.value),
    }
    written |= {key: value for key, (value, default) in settings.items() if value != default}
    if pool.quic is not None:
        written["quic"] = {"config_id": pool.quic.config_id}
    written["health"] = _health(pool.health) if pool.health is not None else "off"
    return written


def _member(member: PoolMember) -> str | dict[str, Any]:
    if member.weight == 1 and member.slot is None:
        return str(member.backend)
    written: dict[str, Any] = {"name": str(member.backend), "weight": member.weight}
    return written if member.slot is None else written | {"slot": int(member.slot)}


def _health(health: HealthCheck) -> dict[str, Any]:
    return {
        "port": health.port,
        "interval_s": health.interval_s,
        "timeout_s": health.timeout_s,
        "rise": health.rise,
        "fall": health.fall,
    }


def _vip(vip: Vip) -> dict[str, Any]:
    written: dict[str, Any] = {
        "address": str(vip.address),
        "port": vip.port if isinstance(vip.port, int) else str(vip.port),
        "protocol": vip.protocol.name.lower(),
        "pool": str(vip.pool),
    }
    return written if vip.wrong_port is WrongPort.DROP else written | {"wrong_port": vip.wrong_port.value}
