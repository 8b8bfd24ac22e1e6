"""JSON Schema of the files that people write: `fleet.yaml`, `lbnode.yaml`, `lbbackend.yaml` (draft 7).

Made from the same models that read the files. An editor that knows it completes keys, shows what they mean, and marks
what is wrong while it is typed; what entries must be to each other, only `lbctl config check` knows.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from lbnode.settings.fleet_about import ABOUT, SHORT
from lbnode.settings.fleet_entries import BackendEntry, PoolEntry, read_name
from lbnode.settings.fleet_vips import VipEntry
from lbnode.settings.reader import Reader, Schema

DRAFT = "http://json-schema.org/draft-07/schema#"
OWN_FORMATS = ("ipvanyaddress", "path")


class Fleet(BaseModel):
    """A fleet.yaml as a whole; its reader takes it entry by entry, to say everything that is wrong at once."""

    backends: list[BackendEntry] = []
    pools: list[PoolEntry] = []
    vips: list[VipEntry] = []


class _Generator(GenerateJsonSchema):
    """pydantic's generator, which asks our readers what they take."""

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        function = schema["function"]["function"]
        return (
            dict(function.schema) if isinstance(function, Reader) else super().function_plain_schema(schema)
        )

    def encode_default(self, dft: Any) -> Any:
        """Write a number that has a name by its name, as the files do."""
        return dft.name.lower() if isinstance(dft, IntEnum) else super().encode_default(dft)


def fleet_schema() -> Schema:
    """Return the schema of a fleet.yaml."""
    document = _made(Fleet)
    for name, kind in document["$defs"].items():
        _explain(name, kind)
    properties = {"fleet": {**read_name.schema, "description": SHORT["fleet"]}, **document["properties"]}
    for key in document["properties"]:
        properties[key]["description"] = SHORT[key]
    document |= {"properties": properties, "required": ["fleet"], "additionalProperties": False}
    return {"$schema": DRAFT, "title": "fleet.yaml", **document}


def settings_schema(kind: type[BaseModel], title: str, *, complete: bool) -> Schema:
    """Return the schema of a daemon's settings: of them all (`complete`), or of a file.

    A file may lack any of them, because the environment may have it.
    """
    document = _made(kind)
    document.pop("description", None)
    if not complete:
        document.pop("required", None)
    listen = document.get("$defs", {}).get("RpcSettings", {}).get("properties", {}).get("listen")
    if listen is not None:
        _allow_one(listen)
    return {"$schema": DRAFT, "title": title, **document}


def _made(kind: type[BaseModel]) -> Schema:
    made = cast(Schema, _bare(kind.model_json_schema(schema_generator=_Generator)))
    made.pop("title", None)
    return made


def _bare(schema: Any) -> Any:
    """Drop what says nothing to an editor: titles made from names, formats that only our readers know."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not _is_noise(key, value)}
    return {key: _bare(value) for key, value in kept.items()}


def _is_noise(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "format" and value in OWN_FORMATS)


def _allow_one(field: Schema) -> None:
    """Let a list of texts be one text, too."""
    many = {key: field.pop(key) for key in ("type", "items", "minItems") if key in field}
    field["anyOf"] = [{"type": "string"}, many]


def _explain(name: str, kind: Schema) -> None:
    """Add what the keys mean, and the short forms that the reader takes."""
    for key, about in ABOUT.get(name, {}).items():
        kind["properties"][key]["description"] = about
    if name == "PoolEntry":
        _allow_short_forms(kind["properties"])


def _allow_short_forms(properties: Schema) -> None:
    members = properties["backends"]
    members["items"] = {"anyOf": [dict(read_name.schema), members["items"]]}
    health = properties["health"]
    health["anyOf"] = [
        *(each for each in health["anyOf"] if each != {"type": "null"}),
        {"enum": ["off", "none", False]},
    ]
    health.pop("default", None)
