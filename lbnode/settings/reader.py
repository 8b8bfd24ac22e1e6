"""A reader of values that can also say what it takes, as JSON Schema: for editors, which know no more than that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Schema = dict[str, Any]

ADDRESS: Schema = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
ADDRESSES: Schema = {"anyOf": [ADDRESS, {"type": "array", "items": ADDRESS, "minItems": 1, "maxItems": 2}]}
"""One address, or one of each family."""


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Called with a value as the file has it, `read` returns what it means or raises ValueError."""

    read: Callable[[object], T]
    schema: Schema

    def __call__(self, value: object) -> T:
        return self.read(value)


def takes(schema: Schema) -> Callable[[Callable[[object], T]], Reader[T]]:
    """Make a function a reader of what `schema` describes."""
    return lambda read: Reader(read, schema)
