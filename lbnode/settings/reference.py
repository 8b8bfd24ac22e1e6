"""The page of all settings (docs/settings.md) from their JSON Schemas: every key, what it takes, its default."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lbnode.settings.reader import Schema

HEAD = """# Settings

Every key of every file, with what it takes and what it is when it is left out (**required** where it cannot be). Made
by `make settings` from the models that read the files; the same as JSON Schema for editors is in [schema/](schema/).
In the two daemons' files every key can be overruled by the environment: `EVENKEEL_` and its path in capitals, with two
underscores between the levels (`EVENKEEL_BGP__LOCAL_AS=65001`; lists and mappings as JSON).
"""


def settings_page(schemas: Mapping[str, Schema]) -> str:
    """Return the page for `schemas`, by the name of the file."""
    parts = [HEAD]
    for name, schema in schemas.items():
        parts.append(f"\n## {name}\n")
        parts.extend(_tables(schema))
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


NAMES = {"ZooKeeperSettings": "zookeeper store", "FileStoreSettings": "file store"}


def _tables(schema: Schema) -> Iterator[str]:
    """The document's own keys, then those of everything inside that has keys."""
    inside: Mapping[str, Schema] = schema.get("$defs", {})
    yield _table(schema, inside)
    for name, inner in inside.items():
        if "properties" in inner:
            about = inner.get("description", "")
            yield f"\n### {_heading(name)}\n" + (f"\n{about}\n" if about else "")
            yield _table(inner, inside)


def _table(schema: Schema, inside: Mapping[str, Schema]) -> str:
    required = schema.get("required", [])
    rows = ["", "| key | takes | left out | |", "|---|---|---|---|"]
    for key, field in schema["properties"].items():
        default = "**required**" if key in required else _default(field)
        rows.append(f"| `{key}` | {_taken(field, inside)} | {default} | {field.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default in (None, []) or isinstance(default, dict) else f"`{_plain(default)}`"


def _taken(field: Schema, inside: Mapping[str, Schema]) -> str:
    """What a field takes, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _heading(name) if "properties" in inside[name] else _taken(inside[name], inside)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{_plain(each)}`" for each in field["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in field and "type" not in field:
            words = [_taken(each, inside) for each in field[choice] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    return _typed(field, inside)


def _typed(field: Schema, inside: Mapping[str, Schema]) -> str:
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {_taken(field.get('items', {}), inside)}"
    if kind == "string":
        return "address" if "ipv4" in json.dumps(field) else "text"
    if "minimum" in field and "maximum" in field:
        return f"{field['minimum']:.10g} to {field['maximum']:.10g}"
    return {"boolean": "`true`, `false`", "integer": "whole number"}.get(kind, kind)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _heading(name: str) -> str:
    """`NeighborSettings` → `neighbor`: people know what it is for, not what the model is called."""
    bare = name.removesuffix("Settings").removesuffix("Entry")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in bare)
    return NAMES.get(name, words.strip())
