"""Records as bytes: canonical JSON of the values in `lbnode.model`, checked on the way in.

One codec for ZooKeeper, the file store and the copies on disk, so that a record can be moved between them by hand.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class CorruptRecordError(ValueError):
    """Bytes that are no record of the expected kind."""


_adapters: dict[Any, TypeAdapter[Any]] = {}
"""One for each kind of record: making one is slow, and it never changes."""


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _adapters.get(kind) or _adapters.setdefault(kind, TypeAdapter(kind))


def encode(value: object) -> bytes:
    """Return `value` (a dataclass of this package) as JSON in UTF-8; equal values give equal bytes."""
    encoded: bytes = _adapter(type(value)).dump_json(value)
    return encoded


def decode(kind: type[T], data: bytes) -> T:
    """Return the record of type `kind` that `data` holds.

    Raises CorruptRecordError, naming the first field that does not fit, for anything else.
    """
    try:
        record: T = _adapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise CorruptRecordError(f"{kind.__name__}: {where}: {first['msg']}") from error
    return record
