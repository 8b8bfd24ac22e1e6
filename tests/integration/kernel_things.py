"""Programs, maps and links by the kernel's numbers, which say whether they are still there."""

from __future__ import annotations

import ctypes
from contextlib import closing
from ctypes import c_uint8, c_uint32, c_uint64
from pathlib import Path

from lbnode.dataplane import descriptors
from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.bpf_map import Map
from lbnode.dataplane.bpf_program import XdpLink

MOST_MAPS = 64
KINDS = {"prog": "bpf_prog_get_next_id", "map": "bpf_map_get_next_id", "link": "bpf_link_get_next_id"}


class ProgramInfo(ctypes.Structure):
    """The head of struct bpf_prog_info (linux/bpf.h), up to the maps of a program."""

    _fields_ = (
        ("type", c_uint32), ("id", c_uint32), ("tag", c_uint8 * 8), ("jited", c_uint32), ("xlated", c_uint32),
        ("jited_at", c_uint64), ("xlated_at", c_uint64), ("loaded_at", c_uint64), ("uid", c_uint32),
        ("nr_map_ids", c_uint32), ("map_ids", c_uint64),
    )  # fmt: skip


def _in_kernel(kind: str) -> set[int]:
    """The numbers of all programs, maps or links that there are, as `bpftool` lists them."""
    following, found = c_uint32(), set[int]()
    ask = getattr(abi.library(), KINDS[kind])
    while ask(following, ctypes.byref(following)) == 0:
        found.add(following.value)
    return found


def things_of(link: Path, maps: Path) -> set[tuple[str, int]]:
    """All that hangs together: the link, its program, the program's maps, the pinned maps."""
    with closing(XdpLink.open_pinned(link)) as held, closing(held.running()) as program:
        numbers = (c_uint32 * MOST_MAPS)()
        asked = ProgramInfo(nr_map_ids=MOST_MAPS, map_ids=ctypes.addressof(numbers))
        told = descriptors.ask(program.fd, asked)
        found = {("link", int(descriptors.ask(held.fd, abi.LinkInfo()).id)), ("prog", program.id)}
        found |= {("map", numbers[place]) for place in range(told.nr_map_ids)}
    for pin in maps.iterdir():
        with closing(Map.open_pinned(pin)) as each:
            found.add(("map", each.id))
    return found


def left_of(things: set[tuple[str, int]]) -> set[tuple[str, int]]:
    return {(kind, number) for kind, number in things if number in _in_kernel(kind)}
