"""What Python packs by hand for the node's maps is what the object says it is."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import numpy as np
import pytest

from lbnode.dataplane.btf import Btf
from lbnode.dataplane.buckets import pack_buckets
from lbnode.dataplane.layout import ENUMS, STRUCTURES, Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.making import Making
from lbnode.dataplane.memory import NODE_MAPS
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.packet_model import checksum
from lbnode.dataplane.tunnels import pack_tunnel
from lbnode.model.epoch import stamp_of
from lbnode.model.ids import EpochNumber
from lbnode.model.outcomes import NODE_OUTCOMES
from tests.bpf.node_world import NEAR, make_table

OF_THE_PROGRAM = ("budgets", "kept_packets")
"""Neither pinned nor read: they end with it."""


@pytest.fixture(scope="module")
def node() -> Iterator[BpfObject]:
    with BpfObject.open(OBJECT) as opened:
        yield opened


@pytest.fixture(scope="module")
def btf(node: BpfObject) -> Btf:
    return node.btf


@pytest.fixture(scope="module")
def layout(btf: Btf) -> Layout:
    return Layout.of(btf)


@pytest.mark.parametrize("name", STRUCTURES)
def test_numpy_types_have_the_sizes_and_offsets_of_the_object(btf: Btf, layout: Layout, name: str) -> None:
    shape = layout.shapes[name]
    assert shape.itemsize == btf.struct_size(name)
    assert shape.fields is not None
    assert {
        (field, shape.fields[field][1], shape.fields[field][0].itemsize) for field in shape.names or ()
    } == {(member.name, member.offset, member.size) for member in btf.members(name)}


def test_stamps_have_the_bits_that_the_object_knows(btf: Btf) -> None:
    bits = btf.enum("stamp_bits")
    assert stamp_of(EpochNumber(0x3FFFF)) == bits["STAMP_NUMBER"]
    assert stamp_of(EpochNumber(0), local=True) == bits["STAMP_LOCAL"]


def test_structures_have_no_hidden_padding(btf: Btf) -> None:
    for name in (*STRUCTURES, "control", "address", "count", "directory", "vip", "pool", "tunnel"):
        end = 0
        for member in btf.members(name):
            assert member.offset == end, f"padding before {name}.{member.name}"
            end += member.size
        assert end == btf.struct_size(name), f"padding at the end of {name}"


def test_words_that_are_switched_are_aligned(layout: Layout) -> None:
    for path in (("control", "directory"), ("control", "tunnels"), ("pool", "current")):
        assert layout.offset(*path) % 8 == 0
    pool = layout.shapes["state"]["pool"].subdtype
    assert pool is not None
    assert pool[0].itemsize % 8 == 0


def test_a_packed_tunnel_is_struct_tunnel(layout: Layout) -> None:
    shape = layout.shapes["tunnels"]["backend"].subdtype
    assert shape is not None
    address = IPv4Address("10.1.2.3")
    tunnel = np.frombuffer(pack_tunnel(address, NEAR, row=0x0506, flags=0x0708), dtype=shape[0])[0]
    assert tunnel["ethernet"].tobytes() == NEAR.destination_mac + NEAR.source_mac + b"\x08\x00\x45\x00"
    assert tunnel["destination"]["word"].tobytes() == bytes(12) + address.packed
    assert (tunnel["ifindex"], tunnel["mtu"]) == (NEAR.ifindex, NEAR.mtu)
    assert (tunnel["row"], tunnel["flags"]) == (0x0506, 0x0708)
    header = bytes.fromhex("4500 0000 0000 4000 402f 0000 0000 0000") + address.packed
    total = int(tunnel["sum"])
    folded = (total & 0xFFFF) + (total >> 16)
    assert int.from_bytes((~folded & 0xFFFF).to_bytes(2, "little"), "big") == checksum(header)


def test_packed_buckets_are_struct_bucket(layout: Layout) -> None:
    table = make_table("web")
    bucket = layout.shapes["table_row"]["place"]
    assert bucket.subdtype is not None
    buckets = pack_buckets(table, layout.constants).view(bucket.subdtype[0])
    assert (buckets["owner"] == table.owners).all()
    assert (buckets["first"] == table.first).all()
    assert (buckets["second"] == table.second).all()
    assert not buckets["flags"].any()


def test_every_enum_and_map_that_user_space_needs_is_in_the_object(node: BpfObject, btf: Btf) -> None:
    assert all(btf.enum(name) for name in ENUMS)
    assert set(node.map_names()) == {*NODE_MAPS, *OF_THE_PROGRAM}


def test_outcomes_are_counted_from_zero_without_gaps(btf: Btf, layout: Layout) -> None:
    assert list(btf.enum("outcome").values()) == list(range(len(layout.outcomes) + 1))
    assert layout.outcomes[0] == "forwarded"
    assert all(
        name.startswith(("forwarded", "answered_", "pass_", "drop_", "flow_", "fragment_"))
        for name in layout.outcomes
    )


def test_every_outcome_is_explained(layout: Layout) -> None:
    assert tuple(NODE_OUTCOMES) == layout.outcomes


def test_a_changed_structure_changes_the_digest(btf: Btf, layout: Layout) -> None:
    """So that nobody has to remember a version number."""
    changed = Btf(_renamed(btf, b"table_places\0", b"table_placeS\0"))
    assert Layout.of(changed).digest != layout.digest


def test_another_map_of_what_packets_fill_changes_that_part_alone(btf: Btf, layout: Layout) -> None:
    changed = Btf(_renamed(btf, b"\0id\0", b"\0iD\0"))
    before, after = (Making.of(Layout.of(each).digest, each, {}) for each in (btf, changed))
    assert before.layout == after.layout
    assert before.shared != after.shared


def test_every_size_is_part_of_a_making(btf: Btf, layout: Layout) -> None:
    sizes = {"tables": 1, "counts": 1, "flows": 1}
    makings = {str(Making.of(layout.digest, btf, {**sizes, name: 2})) for name in (*sizes, "none")}
    assert len(makings) == 4
    assert all(str(Making.parse(each)) == each for each in makings)


def _renamed(btf: Btf, before: bytes, after: bytes) -> bytes:
    assert btf.raw.count(before) >= 1
    return btf.raw.replace(before, after)
