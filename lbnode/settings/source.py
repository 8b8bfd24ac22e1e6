"""Where a daemon's settings come from: a small YAML file, overruled by `EVENKEEL_…` in the environment.

There a nested field has two underscores: `EVENKEEL_STORE__HOSTS='["10.0.0.1:2181"]'`; the fields beside it
stay as the file has them. Every complaint names the file (or the variable), the field, and what to do about
it: the field's description.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

ENV_PREFIX = "EVENKEEL_"
ENV_NESTED = "__"

S = TypeVar("S", bound="FileSettings")


class BadSettingsError(Exception):
    """Settings that cannot be used. One line for each complaint: file, field, reason, remedy."""


class FileSettings(BaseSettings):
    """Base of a daemon's settings: the environment overrules the file, unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_NESTED, extra="forbid", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the library's signature)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load(kind: type[S], path: Path) -> S:
    """Return the settings in the file at `path` under the environment's. Raises BadSettingsError."""
    data = read_yaml(path)
    try:
        return kind(**data)
    except ValidationError as error:
        lines = [_complaint(kind, path, details) for details in error.errors()]
        raise BadSettingsError("\n".join(lines)) from error
    except SettingsError as error:
        reason = f"environment: {error}; lists and mappings are written as JSON there"
        raise BadSettingsError(reason) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that the YAML file at `path` holds; an empty file is an empty mapping.

    Raises BadSettingsError: unreadable, not YAML, a key twice, or no mapping.
    """
    try:
        data = yaml.load(path.read_text(), _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadSettingsError(f"{path}: {reason}; --config names the file to read") from error
    except yaml.YAMLError as error:
        raise BadSettingsError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise BadSettingsError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    return data


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice; remove one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _complaint(kind: type[BaseModel], file: Path, details: ErrorDetails) -> str:
    """Say in one line what is wrong with which field, and what it is for."""
    path, model, field = _locate(kind, details["loc"])
    variable = ENV_PREFIX + path.replace(".", ENV_NESTED).upper()
    where = f"environment: {variable}" if variable in os.environ else f"{file}: {path}"
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_suggestion(model, field)}"
    about = _description(model, field)
    if details["type"] == "missing":
        return f"{where}: missing; set it, or {variable}{about}"
    reason = details["ctx"]["error"] if details["type"] == "value_error" else details["msg"]
    return f"{where}: {reason}, found {details['input']!r}{about}"


def _locate(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, type[BaseModel], str]:
    """Return an error's path as the file has it, the model that the last field belongs to, and that field.

    Where a field can hold one of several models, pydantic names the one it took by its tag.
    """
    model, path, field = kind, [], ""
    nested: tuple[type[BaseModel], ...] = ()
    for part in map(str, location):
        tagged = [candidate for candidate in nested if part in _tags(candidate)]
        if tagged:
            model, nested = tagged[0], ()
            continue
        if nested:
            model = nested[0]
        path.append(part)
        field = part
        nested = _nested(model, part)
    return ".".join(path) or "settings", model, field


def _nested(model: type[BaseModel], field: str) -> tuple[type[BaseModel], ...]:
    """The models that `field` can hold."""
    info = model.model_fields.get(field)
    kinds = (info.annotation, *get_args(info.annotation)) if info is not None else ()
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _tags(model: type[BaseModel]) -> set[str]:
    """The words of the model's literals: what a union of models is told apart by."""
    return {str(word) for info in model.model_fields.values() for word in get_args(info.annotation)}


def _suggestion(model: type[BaseModel], key: str) -> str:
    close = difflib.get_close_matches(key, model.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(model.model_fields)}"


def _description(model: type[BaseModel], field: str) -> str:
    info = model.model_fields.get(field)
    return f": {info.description}" if info is not None and info.description else ""
