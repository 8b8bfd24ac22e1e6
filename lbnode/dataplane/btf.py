"""Read BTF: what an object itself says of its structures, enums and variables.

So nothing about layout is written down twice: names of counters come from the enum in the object, and a
test compares every structure that Python packs with the object's own description. Pure: bytes in, values
out. The format is described in linux/Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MAGIC = 0xEB9F

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)

_FORWARDING = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG})
_TRAILER = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
_TRAILER_PER_ITEM = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a structure: its offset and size in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    kind: int
    count: int
    size_or_type: int
    body: bytes


class Btf:
    """The types of one object; `raw` as in its .BTF section, little-endian."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        magic, _version, _flags, header, type_at, type_size, string_at, string_size = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError(f"not BTF: starts with {magic:#x}")
        self._strings = raw[header + string_at : header + string_at + string_size]
        self._types = [_Type("void", 0, 0, 0, b"")]
        self._parse(raw[header + type_at : header + type_at + type_size])

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _parse(self, types: bytes) -> None:
        at = 0
        while at < len(types):
            name, info, size_or_type = _TYPE.unpack_from(types, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            at += _TYPE.size
            length = _TRAILER.get(kind, _TRAILER_PER_ITEM.get(kind, 0) * count)
            self._types.append(_Type(self._name(name), kind, count, size_or_type, types[at : at + length]))
            at += length

    def _find(self, name: str, *kinds: int) -> _Type:
        for candidate in self._types:
            if candidate.name == name and candidate.kind in kinds:
                return candidate
        raise KeyError(f"BTF has no {name}")

    def size_of(self, number: int) -> int:
        """Return the size in bytes of type `number`."""
        found = self._types[number]
        if found.kind in _FORWARDING or found.kind == VAR:
            return self.size_of(found.size_or_type)
        if found.kind == PTR:
            return 8
        if found.kind == ARRAY:
            element, _index, count = struct.unpack("<III", found.body)
            return int(count) * self.size_of(element)
        return found.size_or_type

    def members(self, name: str) -> tuple[Member, ...]:
        """Return the fields of `struct name` in order; raises KeyError when there is no such structure."""
        found = self._find(name, STRUCT, UNION)
        fields = struct.iter_unpack("<III", found.body)
        return tuple(
            Member(self._name(at), (bits & 0xFFFFFF) // 8, self.size_of(kind)) for at, kind, bits in fields
        )

    def struct_size(self, name: str) -> int:
        """Return sizeof(struct name)."""
        return self._find(name, STRUCT, UNION).size_or_type

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return `struct name` as a numpy type, nested structures and arrays included; integers are unsigned."""
        return self._dtype(self._types.index(self._find(name, STRUCT)))

    def _dtype(self, number: int) -> np.dtype[Any]:
        found = self._types[number]
        if found.kind in _FORWARDING:
            return self._dtype(found.size_or_type)
        if found.kind == ARRAY:
            element, _index, count = struct.unpack("<III", found.body)
            inner = self._dtype(element)
            return np.dtype(f"S{count}") if self._is_text(element) else np.dtype((inner, (count,)))
        if found.kind == STRUCT:
            return self._struct_dtype(found)
        if found.kind in (INT, ENUM):
            return np.dtype(f"<u{found.size_or_type}")
        raise TypeError(f"BTF type {found.name or number} of kind {found.kind} has no numpy form")

    def _is_text(self, number: int) -> bool:
        return self._types[number].name == "char"

    def _struct_dtype(self, found: _Type) -> np.dtype[Any]:
        fields = list(struct.iter_unpack("<III", found.body))
        return np.dtype(
            {
                "names": [self._name(name) for name, _kind, _bits in fields],
                "formats": [self._dtype(kind) for _name, kind, _bits in fields],
                "offsets": [(bits & 0xFFFFFF) // 8 for _name, _kind, bits in fields],
                "itemsize": found.size_or_type,
            }
        )

    def enum(self, name: str) -> dict[str, int]:
        """Return the values of `enum name` by their names, in order."""
        found = self._find(name, ENUM)
        return {self._name(at): value for at, value in struct.iter_unpack("<Ii", found.body)}

    def maps(self) -> dict[str, object]:
        """Return map name → its type, flags, capacity, key and value, down to the last field: equal for equal maps."""
        body = self._find(".maps", DATASEC).body
        variables = [self._types[number] for number, _offset, _size in struct.iter_unpack("<III", body)]
        return {each.name: self._described(each.size_or_type) for each in variables}

    def _described(self, number: int) -> object:
        """What tells a type from others, whatever its number; a pointer stands for what it points to."""
        found = self._types[number]
        if found.kind in _FORWARDING or found.kind == PTR:
            return self._described(found.size_or_type)
        if found.kind == ARRAY:
            element, _index, count = struct.unpack("<III", found.body)
            return int(count), self._described(element)
        if found.kind in (STRUCT, UNION):
            fields = struct.iter_unpack("<III", found.body)
            return tuple((self._name(name), bits, self._described(kind)) for name, kind, bits in fields)
        return found.name, found.size_or_type

    def section(self, name: str) -> dict[str, tuple[int, int]]:
        """Return variable name → (offset, size) of the data section `name`, ".rodata" for one."""
        try:
            found = self._find(name, DATASEC)
        except KeyError:
            return {}
        rows = struct.iter_unpack("<III", found.body)
        return {self._types[variable].name: (offset, size) for variable, offset, size in rows}
