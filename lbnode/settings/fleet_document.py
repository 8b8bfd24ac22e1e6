"""The sections of fleet.yaml entry by entry: what is well formed, and everything that is not.

Each entry is read for itself, so that one broken backend does not hide a broken VIP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lbnode.core.rules import did_you_mean
from lbnode.settings.fleet_entries import (
    BackendEntry,
    Entry,
    HealthEntry,
    MemberEntry,
    PoolEntry,
    read_name,
)
from lbnode.settings.fleet_errors import FleetProblem, Path, show
from lbnode.settings.fleet_vips import VipEntry

E = TypeVar("E", bound=Entry)

KEYS = ("fleet", "backends", "pools", "vips")
EXAMPLES = {
    "fleet": "fleet: demo",
    "name": "name: web",
    "address": "address: 192.0.2.10",
    "backends": "backends: [b1, b2]",
    "port": "port: 80",
    "pool": "pool: web",
}
NESTED: dict[str, type[Entry]] = {"backends": MemberEntry, "health": HealthEntry}


@dataclass(slots=True)
class Section(Generic[E]):
    """The usable entries of a list by index; and the name in each that has one, broken ones included."""

    entries: dict[int, E] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Every name that the file gives: what others may refer to."""
        return set(self.named.values())


@dataclass(slots=True)
class FleetDocument:
    """A fleet.yaml, read entry by entry. `name` is empty when the file gives no usable one."""

    name: str
    backends: Section[BackendEntry]
    pools: Section[PoolEntry]
    vips: Section[VipEntry]


def read_document(data: object) -> tuple[FleetDocument, list[FleetProblem]]:
    """Return the sections of `data`, plain data from YAML, and what is wrong with them."""
    problems: list[FleetProblem] = []
    if not isinstance(data, Mapping):
        problems.append(FleetProblem((), f"{show(data)} is no fleet; use the keys {', '.join(KEYS)}"))
        data = {"fleet": "unreadable"}
    problems += [
        FleetProblem((str(key),), f"unknown key; {did_you_mean(str(key), KEYS)}")
        for key in data
        if key not in KEYS
    ]
    document = FleetDocument(
        _read_fleet_name(data, problems),
        _read_section(data, "backends", BackendEntry, problems),
        _read_section(data, "pools", PoolEntry, problems),
        _read_section(data, "vips", VipEntry, problems),
    )
    return document, problems


def _read_fleet_name(data: Mapping[Any, Any], problems: list[FleetProblem]) -> str:
    if "fleet" not in data:
        problems.append(FleetProblem(("fleet",), _missing("fleet")))
        return ""
    try:
        return read_name(data["fleet"])
    except ValueError as error:
        problems.append(FleetProblem(("fleet",), str(error)))
        return ""


def _read_section(
    data: Mapping[Any, Any], key: str, kind: type[E], problems: list[FleetProblem]
) -> Section[E]:
    section: Section[E] = Section()
    items = data.get(key, [])
    if not isinstance(items, list):
        problems.append(FleetProblem((key,), _not_a("list", items)))
        return section
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and isinstance(item.get("name"), str):
            section.named[index] = item["name"]
        try:
            section.entries[index] = kind.model_validate(item)
        except ValidationError as error:
            problems += _translate(error, (key, index), item, kind)
            if kind is PoolEntry:
                _salvage(section, index, item, error)
    return section


def _salvage(section: Section[E], index: int, item: object, error: ValidationError) -> None:
    """Keep a pool without its broken settings, so that its members are still checked against the rest."""
    broken = {details["loc"][0] for details in error.errors() if details["loc"]}
    if isinstance(item, Mapping) and not broken & {"name", "backends"}:
        kept = {key: value for key, value in item.items() if key not in broken}
        section.entries[index] = PoolEntry.model_validate(kept)  # type: ignore[assignment]


def _translate(error: ValidationError, path: Path, item: object, kind: type[Entry]) -> Iterator[FleetProblem]:
    for details in error.errors(include_url=False):
        below = _as_written(tuple(details["loc"]), item)
        yield FleetProblem((*path, *below), _explain(details, kind))


def _as_written(path: Path, item: Any) -> Path:
    """Cut a path where the file has plain text: `backends: [b1]` has no `name` inside."""
    for depth, part in enumerate(path):
        if isinstance(item, str):
            return path[:depth]
        if not _has(item, part):
            break
        item = item[part]
    return path


def _has(item: object, part: str | int) -> bool:
    return isinstance(item, list) if isinstance(part, int) else isinstance(item, Mapping) and part in item


def _explain(details: ErrorDetails, kind: type[Entry]) -> str:
    """What is wrong, in our words, for each type of error that our entries can cause."""
    match details["type"]:
        case "extra_forbidden" | "invalid_key":
            key = str(details["loc"][-1])
            return f"unknown key; {did_you_mean(key, _known_keys(kind, tuple(details['loc'])))}"
        case "missing":
            return _missing(str(details["loc"][-1]))
        case "list_type":
            return _not_a("list", details["input"])
        case "model_type" | "dict_type" | "model_attributes_type":
            return _not_a("mapping (key: value)", details["input"])
        case "value_error":
            return str(details["ctx"]["error"])
    return f"{show(details['input'])}: {details['msg']}"


def _known_keys(kind: type[Entry], path: Path) -> list[str]:
    if len(path) > 1 and isinstance(path[0], str):
        kind = NESTED.get(path[0], kind)
    return list(kind.model_fields)


def _missing(key: str) -> str:
    return f"is missing; write it like: {EXAMPLES.get(key, key)}"


def _not_a(what: str, value: object) -> str:
    if value is None:
        return f"is empty; it must be a {what}"
    return f"{show(value)} is not a {what}"
