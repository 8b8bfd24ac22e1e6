"""Where a daemon's settings come from: a small YAML file, overruled by `EVENKEEL_…` in the environment.

There a nested field has two underscores: `EVENKEEL_STORE__HOSTS='["10.0.0.1:2181"]'`; the fields beside it
stay as the file has them. Every complaint names the file (or the variable), the field, and what to do about
it: the field's description. A variable that is none, but nearly one, is an error like a key that is none; of others
nothing is said: they may be somebody else's.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lbnode.settings.errors import BadSettingsError

__all__ = ["BadSettingsError", "FileSettings", "load", "read_yaml"]

ENV_PREFIX = "EVENKEEL_"
ENV_NESTED = "__"
NEARLY = 0.9
"""How much of a variable's name must be that of another one's to take it for a slip of the hand."""

S = TypeVar("S", bound="FileSettings")


class _Environment(EnvSettingsSource):
    """The environment, in which lists and mappings are JSON; what is none is left to the field to judge."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class FileSettings(BaseSettings):
    """Base of a daemon's settings: the environment overrules the file, unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_NESTED, extra="forbid", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the library's signature)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Environment(settings_cls), init_settings


def load(kind: type[S], path: Path) -> S:
    """Return the settings in the file at `path` under the environment's. Raises BadSettingsError."""
    data, misspelt = read_yaml(path), list(_misspelt(kind))
    try:
        settings = kind(**data)
    except ValidationError as error:
        lines = [_complaint(kind, path, details) for details in error.errors()]
        raise BadSettingsError("\n".join([*misspelt, *lines])) from error
    if misspelt:
        raise BadSettingsError("\n".join(misspelt))
    return settings


def _misspelt(kind: type[BaseModel]) -> Iterator[str]:
    """Complain of variables whose names are nearly those of settings: they would do nothing, silently."""
    known = sorted(ENV_PREFIX + path for path in _variables(kind))
    for name in sorted(os.environ):
        field = name.removeprefix(ENV_PREFIX).partition(ENV_NESTED)[0]
        if name.startswith(ENV_PREFIX) and field.lower() not in kind.model_fields:
            for close in difflib.get_close_matches(name, known, n=1, cutoff=NEARLY):
                yield f"environment: {name}: no such variable; did you mean {close}?"


def _variables(model: type[BaseModel]) -> Iterator[str]:
    """The names of all variables that set something in `model`, without the prefix."""
    for field in model.model_fields:
        yield field.upper()
        for nested in _nested(model, field):
            yield from (f"{field.upper()}{ENV_NESTED}{rest}" for rest in _variables(nested))


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
    variable, where = _variable(path), _place(path, file)
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_suggestion(model, field)}"
    about = _description(model, field)
    if details["type"] == "missing":
        return f"{where}: missing; set it, or {variable}{about}"
    reason = details["ctx"]["error"] if details["type"] == "value_error" else details["msg"]
    complaint = f"{where}: {reason}, found {details['input']!r}{about}"
    if details["type"] == "tuple_type" and variable in os.environ:
        items = json.dumps(os.environ[variable].split(","))
        return f"{complaint}; lists are JSON there: {variable}='{items}'"
    return complaint


def _variable(path: str) -> str:
    return ENV_PREFIX + path.replace(".", ENV_NESTED).upper()


def _place(path: str, file: Path) -> str:
    """Where the value at `path` comes from: a variable that holds it, or part of it, else the file."""
    words = path.split(".")
    for length in range(len(words), 0, -1):
        variable = _variable(".".join(words[:length]))
        if variable in os.environ:
            return ": ".join([f"environment: {variable}", *words[length:]])
    return f"{file}: {path}"


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
