"""Whose GRE a backend takes: all of them in a map, and most of them where one look finds them.

Such a near place is where the address alone leads. Of members that meet in one, nodes come first; the others are
found in the map (docs/adr/0030-near-members.md). `lbnode/bpf/decap_member.h` looks up by the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lbnode.dataplane.addresses import address_words, unpack_address
from lbnode.dataplane.backend_layout import (
    Address,
    MemberKind,
    pack_kind,
    pack_sender,
    unpack_sender,
)
from lbnode.dataplane.grace import Grace
from lbnode.dataplane.libbpf import Map

_SPREAD = 0x9E3779B1
_WORD = (1 << 32) - 1


def near_place(address: Address, places: int) -> int:
    """Return the only one of `places` (a power of two) where `address` can lie."""
    first, second, third, fourth = address_words(address)
    return ((first ^ second ^ third ^ fourth) * _SPREAD & _WORD) * places >> 32


def choose_near(members: Mapping[Address, MemberKind], places: int) -> dict[int, Address]:
    """Return who lies in which place; the same for the same members, in whatever order."""
    chosen: dict[int, Address] = {}
    for address in sorted(members, key=lambda each: (members[each], each.version, int(each))):
        chosen.setdefault(near_place(address, places), address)
    return chosen


class Members:
    """The map `sources`, and `near` of struct agent. Who is near is in the map, too, at every moment."""

    def __init__(self, sources: Map, near: Any, grace: Grace) -> None:
        self._sources = sources
        self._near = near
        self._families = near["sender"]["family"]
        self._grace = grace

    def present(self) -> dict[Address, MemberKind]:
        """Return whose GRE is taken."""
        return {
            unpack_sender(key): MemberKind(int.from_bytes(value, "little"))
            for key in self._sources.keys()  # noqa: SIM118 - a map of the kernel, not a dict
            if (value := self._sources.lookup(key)) is not None
        }

    def near(self) -> dict[int, tuple[Address, MemberKind]]:
        """Return who lies in which near place."""
        return {place: self._at(place) for place in np.flatnonzero(self._families).tolist()}

    def set(self, wanted: Mapping[Address, MemberKind]) -> None:
        """Take GRE of exactly `wanted`: what is new first, so that what stays is there at every moment."""
        chosen = choose_near(wanted, len(self._near))
        self._empty({place: (address, wanted[address]) for place, address in chosen.items()})
        present = self.present()
        for address, kind in wanted.items():
            if present.get(address) is not kind:
                self._sources.update(pack_sender(address), pack_kind(kind))
        for address in present.keys() - wanted.keys():
            self._sources.delete(pack_sender(address))
        for place, address in chosen.items():
            self._fill(place, address, wanted[address])

    def _at(self, place: int) -> tuple[Address, MemberKind]:
        member = self._near[place]
        packed = member["sender"]["address"].tobytes()
        return unpack_address(packed, int(self._families[place])), MemberKind(int(member["kind"]))

    def _empty(self, wanted: Mapping[int, tuple[Address, MemberKind]]) -> None:
        """Empty the places that are to hold another, and wait until no packet compares itself with what was there."""
        stale = [place for place, member in self.near().items() if wanted.get(place) != member]
        self._families[stale] = 0
        if stale:
            self._grace.wait()

    def _fill(self, place: int, address: Address, kind: MemberKind) -> None:
        """The family last: with it, the place counts."""
        if self._families[place]:
            return
        self._near["sender"]["address"]["word"][place] = address_words(address)
        self._near["kind"][place] = kind
        self._families[place] = address.version
