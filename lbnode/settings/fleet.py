"""fleet.yaml, the operator's file: text in, a checked `DesiredFleet` out, and back to text.

A file is used whole or not at all. All that is wrong with it is said at once, each as
`fleet.yaml:12: pools[0].backends[1].weight: 70000 is out of range; use 1..65535`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lbnode.model.fleet import (
    Backend,
    DesiredFleet,
    HealthCheck,
    Pool,
    PoolMember,
    Protocol,
    QuicIds,
    Vip,
)
from lbnode.model.ids import BackendName, PoolName, SlotNumber
from lbnode.settings.fleet_checks import check_document
from lbnode.settings.fleet_document import FleetDocument, read_document
from lbnode.settings.fleet_entries import HealthEntry, PoolEntry
from lbnode.settings.fleet_errors import FleetFileError, FleetProblem
from lbnode.settings.fleet_yaml import parse

__all__ = ["FleetFileError", "FleetProblem", "load_fleet", "read_fleet"]

SOURCE = "fleet.yaml"


def load_fleet(path: Path) -> DesiredFleet:
    """Return the fleet in the file at `path`; FleetFileError when it cannot be read or used."""
    return read_fleet(load_text(path), path.name)


def load_text(path: Path) -> str:
    """Return the text of the file at `path`; FleetFileError when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error


def read_fleet(text: str, source: str = SOURCE) -> DesiredFleet:
    """Return the fleet that `text` describes; FleetFileError, listing every problem, when it does not."""
    yaml = parse(text, source)
    document, problems = read_document(yaml.data)
    problems += check_document(document)
    if problems:
        placed = [replace(problem, line=yaml.line(problem.path)) for problem in problems]
        raise FleetFileError(source, sorted(placed, key=lambda problem: problem.line or 0))
    return _build(document)


def _unreadable(path: Path, what: str) -> FleetFileError:
    return FleetFileError(str(path), [FleetProblem((), what)])


def _build(document: FleetDocument) -> DesiredFleet:
    vips = tuple(
        Vip(entry.address, entry.protocol, entry.port, PoolName(entry.pool), entry.wrong_port)
        for entry in document.vips.entries.values()
    )
    return DesiredFleet(
        name=document.name,
        backends=tuple(
            Backend(BackendName(entry.name), entry.address, entry.agent)
            for entry in document.backends.entries.values()
        ),
        pools=tuple(_build_pool(entry, vips) for entry in document.pools.entries.values()),
        vips=vips,
    )


def _build_pool(entry: PoolEntry, vips: tuple[Vip, ...]) -> Pool:
    return Pool(
        name=PoolName(entry.name),
        members=tuple(
            PoolMember(
                BackendName(member.name),
                member.weight,
                None if member.slot is None else SlotNumber(member.slot),
            )
            for member in entry.backends
        ),
        table_size=entry.table_size,
        hash_mode=entry.hash,
        hash_algorithm=entry.hash_algorithm,
        health=_build_health(entry, vips),
        health_cap_percent=entry.health_cap_percent,
        on_all_failed=entry.on_all_failed,
        affinity_window_s=entry.affinity_window_s,
        flow_table=entry.flow_table,
        udp_idle_s=entry.udp_idle_s,
        table=entry.table,
        join=entry.join,
        tunnel=entry.tunnel,
        quic=QuicIds(entry.quic.config_id) if entry.quic is not None else None,
    )


def _build_health(entry: PoolEntry, vips: tuple[Vip, ...]) -> HealthCheck | None:
    """The check that the file gives; else a TCP connect to the port of the pool's first TCP VIP that has one."""
    if "health" in entry.model_fields_set:
        given = entry.health
        return _convert_health(given) if given is not None else None
    for vip in vips:
        if vip.pool == entry.name and vip.protocol is Protocol.TCP and isinstance(vip.port, int):
            return HealthCheck(vip.port)
    return None


def _convert_health(entry: HealthEntry) -> HealthCheck:
    return HealthCheck(entry.port, entry.interval_s, entry.timeout_s, entry.rise, entry.fall)
