"""Values of `worlds` as JSON and back: whatever their types say, and nothing else. Defaults are left out."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return `value` as JSON knows it: bytes in hex, addresses as text, enums as their values."""
    if is_dataclass(value) and not isinstance(value, type):
        said = {each.name: getattr(value, each.name) for each in fields(value)}
        defaults = {each.name: each.default for each in fields(value) if each.default is not MISSING}
        return {name: encode(part) for name, part in said.items() if defaults.get(name, MISSING) != part}
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    return value


def decode(kind: type[T], said: Any) -> T:
    """Return the `kind` that `encode` wrote as `said`."""
    value: T = _decode(kind, said)
    return value


def _decode(kind: Any, said: Any) -> Any:
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _decode(hints[name], part) for name, part in said.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is tuple:
        return _decode_tuple(typing.get_args(kind), said)
    if isinstance(kind, types.UnionType):
        return _decode_union(typing.get_args(kind), said)
    if typing.get_origin(kind) is typing.Literal:
        return said
    if kind is bytes:
        return bytes.fromhex(said)
    return kind(said)


def _decode_tuple(parts: tuple[Any, ...], said: list[Any]) -> tuple[Any, ...]:
    if parts[-1] is Ellipsis:
        return tuple(_decode(parts[0], each) for each in said)
    return tuple(_decode(part, each) for part, each in zip(parts, said, strict=True))


def _decode_union(kinds: tuple[Any, ...], said: Any) -> Any:
    """A value that may be missing, or an address of either family."""
    if said is None or type(None) not in kinds:
        return said if said is None else ip_address(said)
    return _decode(next(kind for kind in kinds if kind is not type(None)), said)
