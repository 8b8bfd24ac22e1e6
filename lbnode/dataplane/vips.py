"""VIPs in the kernel: the whole set in a directory of its own, switched by one store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lbnode.dataplane.addresses import address_words, unpack_address
from lbnode.dataplane.directory import Directory, Words, build
from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.memory import NodeMemory, Records
from lbnode.dataplane.rows import CounterRows
from lbnode.dataplane.tables import Tables
from lbnode.dataplane.values import VipEntry
from lbnode.model.fleet import Protocol
from lbnode.model.ids import IPAddress

VipKey = tuple[IPAddress, Protocol, int]
"""Address, protocol, port."""

_FAMILY_MASK = 0xF
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Place:
    """An entry of a directory before it has a place: struct vip."""

    key: Words
    pool: int = 0
    flags: int = 0
    row: int = 0
    size: int = 0
    hash: int = 0
    sources: int = 0
    ports: int = 0


class Vips:
    """The VIPs that the kernel serves."""

    def __init__(self, memory: NodeMemory, grace: Grace, rows: CounterRows, tables: Tables) -> None:
        self._memory = memory
        self._grace = grace
        self._rows = rows
        self._tables = tables
        self._constants = memory.layout.constants
        self._switched_in = grace.period - 1
        self._entries = self._found()
        self._row_of = self._found_rows()
        for row in self._row_of.values():
            rows.claim(row)

    def _active(self) -> int:
        return int(self._memory.chosen_directory[0]) & 1

    def _places(self) -> Iterator[tuple[VipKey, Any]]:
        """The VIPs in the directory in use, each with its struct vip."""
        places = self._memory.vips["place"][self._active()]
        for place in places[places["key"] != 0]:
            key = int(place["key"])
            if not key & self._constants["VIP_FRAGMENTS"]:
                protocol = Protocol(key >> self._constants["VIP_PROTOCOL_SHIFT"] & 0xFF)
                port = int.from_bytes((key & 0xFFFF).to_bytes(2, "little"), "big")
                yield (self._address(place), protocol, port), place

    def _found_rows(self) -> dict[VipKey, int]:
        return {key: int(place["row"]) for key, place in self._places()}

    def _found(self) -> tuple[VipEntry, ...]:
        """The VIPs as they were set, read from the kernel."""
        addresses = self._memory.addresses["place"][self._active()]
        passing = addresses[addresses["flags"] & self._constants["VIP_WRONG_PASS"] != 0]
        passed = {self._address(place) for place in passing}
        return tuple(
            VipEntry(*key[:2], key[2], self._tables.name(int(place["pool"])), key[0] in passed)
            for key, place in self._places()
        )

    def entries(self) -> tuple[VipEntry, ...]:
        """Return the VIPs in the kernel."""
        return self._entries

    def rows(self) -> dict[VipKey, int]:
        """Return each VIP's row among the counters."""
        return dict(self._row_of)

    def set(self, entries: Sequence[VipEntry]) -> None:
        """Make `entries` all the VIPs there are, at once for every packet.

        Raises CapacityError, or DataPlaneError for a VIP twice or an unknown pool; then nothing changes.
        """
        if sorted(entries, key=_order) == sorted(self._entries, key=_order):
            return
        self._set(entries)

    def renew(self) -> None:
        """Write the VIPs again, after what they copy of their pools has changed."""
        if self._entries:
            self._set(self._entries)

    def _set(self, entries: Sequence[VipEntry]) -> None:
        _check(entries)
        pools = {entry: self._tables.number(entry.pool) for entry in entries}
        by_key: dict[VipKey, VipEntry] = {(e.address, e.protocol, e.port): e for e in entries}
        fragments = self._fragments(by_key, pools)
        addresses = self._addresses(entries)
        keys = [self._words(key) for key in by_key] + [words for words, _ in fragments]
        directories = (
            build(keys, self._constants["VIP_PLACES"]),
            build([place.key for place in addresses], self._constants["VIP_PLACES"]),
        )
        rows = {key: self._row_of.get(key) or self._rows.allocate(f"VIP {key}") for key in by_key}
        named = [*by_key, *(key for _, key in fragments)]
        vips = [
            self._place(words, pools[by_key[key]], rows[key]) for words, key in zip(keys, named, strict=True)
        ]
        self._publish(directories, (vips, addresses))
        for key in set(self._row_of) - set(rows):
            self._rows.retire(self._row_of[key])
        self._row_of = rows
        self._entries = tuple(entries)

    def _place(self, words: Words, pool: int, row: int) -> _Place:
        """The entry of a VIP, with what it copies of its pool so that packets need not wait for it."""
        hashing = self._tables.hashing(pool)
        shared, ports = hashing.keys[0], 0
        if not hashing.by_source:
            protocol = words[4] >> self._constants["VIP_PROTOCOL_SHIFT"] & 0xFF
            shared += sum(key * word for key, word in zip(hashing.keys[5:9], words[:4], strict=True))
            shared += hashing.keys[10] * protocol
            ports = hashing.keys[9]
        flags = self._constants["VIP_SIPHASH"] if hashing.siphash else 0
        return _Place(words, pool, flags, row, hashing.size, shared & _MASK, hashing.keys[4], ports)

    def _addresses(self, entries: Sequence[VipEntry]) -> list[_Place]:
        passed: dict[IPAddress, bool] = {}
        for entry in entries:
            passed[entry.address] = passed.get(entry.address, False) or entry.wrong_port_pass
        flag = self._constants["VIP_WRONG_PASS"]
        return [
            _Place((*address_words(address), self._family(address)), flags=flag if is_passed else 0)
            for address, is_passed in passed.items()
        ]

    def _fragments(
        self, by_key: Mapping[VipKey, VipEntry], pools: Mapping[VipEntry, int]
    ) -> list[tuple[Words, VipKey]]:
        """Return the keys of fragments and the VIP that each counts for, the one with the lowest port.

        A fragment names no port: it can be served when all VIPs that it may be for agree without it.
        """
        groups: defaultdict[tuple[IPAddress, Protocol], list[VipKey]] = defaultdict(list)
        for address, protocol, port in by_key:
            groups[address, protocol].append((address, protocol, port))
        found = []
        for (address, protocol), group in groups.items():
            candidates = {pools[by_key[key]] for key in group}
            if len(candidates) == 1 and self._tables.hashing(min(candidates)).by_source:
                word = self._constants["VIP_FRAGMENTS"] | self._family(address) | self._protocol(protocol)
                found.append(((*address_words(address), word), min(group, key=lambda key: key[2])))
        return found

    def _words(self, key: VipKey) -> Words:
        address, protocol, port = key
        network_port = int.from_bytes(port.to_bytes(2, "big"), "little")
        return (*address_words(address), network_port | self._protocol(protocol) | self._family(address))

    def _family(self, address: IPAddress) -> int:
        return address.version << self._constants["VIP_FAMILY_SHIFT"]

    def _address(self, place: Any) -> IPAddress:
        family = int(place["key"]) >> self._constants["VIP_FAMILY_SHIFT"] & _FAMILY_MASK
        return unpack_address(place["address"].tobytes(), family)

    def _protocol(self, protocol: Protocol) -> int:
        return int(protocol) << self._constants["VIP_PROTOCOL_SHIFT"]

    def _publish(
        self, directories: tuple[Directory, Directory], places: tuple[list[_Place], list[_Place]]
    ) -> None:
        """Write the directories that are not in use, then let them be the ones."""
        self._grace.ensure_after(self._switched_in)
        aside = 1 - self._active()
        _write(self._memory.vips[aside], directories[0], places[0])
        _write(self._memory.addresses[aside], directories[1], places[1])
        self._memory.chosen_directory[0] = aside
        self._switched_in = self._grace.period


def _write(record: Records, directory: Directory, places: list[_Place]) -> None:
    record["place"] = np.zeros((), record["place"].dtype)
    record["displacement"] = 0
    record["seed"] = directory.seed
    record["mask"] = directory.mask
    for group, displacement in directory.displacement.items():
        record["displacement"][group] = displacement
    for index, place in zip(directory.places, places, strict=True):
        entry = record["place"][index]
        entry["address"]["word"] = place.key[:4]
        entry["key"] = place.key[4]
        for name in ("pool", "flags", "row", "size", "hash", "sources", "ports"):
            entry[name] = getattr(place, name)


def _order(entry: VipEntry) -> tuple[int, bytes, Protocol, int]:
    return (entry.address.version, entry.address.packed, entry.protocol, entry.port)


def _check(entries: Sequence[VipEntry]) -> None:
    seen: set[VipKey] = set()
    for entry in entries:
        what = f"VIP {entry.address}:{entry.port}/{entry.protocol.name.lower()}"
        if not 0 < entry.port < 1 << 16:
            raise DataPlaneError(f"{what}: ports are 1 to 65535")
        key = (entry.address, entry.protocol, entry.port)
        if key in seen:
            raise DataPlaneError(f"{what}: given twice")
        seen.add(key)
