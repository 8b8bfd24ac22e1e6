"""What Python packs for the backend's maps is what the object says it is."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from lbnode.dataplane.backend import CLAMP_OBJECT, DECAP_OBJECT, clamped_mss
from lbnode.dataplane.backend_layout import (
    ADDRESS,
    COUNTER,
    MEMBERSHIP,
    SERVICE,
    Service,
    layout_digest,
    outcome_names,
    pack_address,
    pack_services,
    unpack_address,
    unpack_service,
)
from lbnode.dataplane.btf import Btf
from lbnode.dataplane.libbpf import BpfObject


@pytest.fixture(scope="module")
def btf() -> Iterator[Btf]:
    with BpfObject.open(DECAP_OBJECT) as decap:
        yield decap.btf


def test_structures_have_the_sizes_that_python_packs(btf: Btf) -> None:
    assert btf.struct_size("decap_address") == ADDRESS.size
    assert btf.struct_size("decap_service") == SERVICE.size
    assert btf.struct_size("decap_membership") == MEMBERSHIP.size
    assert btf.struct_size("decap_counter") == COUNTER.size


def test_fields_stand_where_python_packs_them(btf: Btf) -> None:
    def places(name: str) -> list[tuple[str, int, int]]:
        return [(member.name, member.offset, member.size) for member in btf.members(name)]

    assert places("decap_service") == [
        ("address", 0, 16),
        ("port", 16, 2),
        ("protocol", 18, 1),
        ("pad", 19, 1),
    ]
    assert places("decap_membership") == [("stamp", 0, 2), ("self", 2, 2)]
    assert places("decap_counter") == [("packets", 0, 8), ("bytes", 8, 8)]


def test_every_drop_comes_after_everything_that_passes(btf: Btf) -> None:
    drops = [name.startswith("drop_") for name in outcome_names(btf)]
    assert drops == sorted(drops)
    assert not drops[0]
    assert drops[-1]


def test_both_objects_mean_the_same_by_the_map_they_share() -> None:
    with BpfObject.open(DECAP_OBJECT) as decap, BpfObject.open(CLAMP_OBJECT) as clamp:
        for name in ("decap_address", "decap_service", "decap_membership"):
            assert clamp.btf.members(name) == decap.btf.members(name)


def test_the_layout_has_a_digest_that_names_its_pins(btf: Btf) -> None:
    assert len(layout_digest(btf)) == 8
    assert layout_digest(btf) == layout_digest(btf)


@pytest.mark.parametrize("address", [IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")])
def test_an_address_of_either_family_survives_packing(address: IPv4Address | IPv6Address) -> None:
    assert unpack_address(pack_address(address)) == address


def test_a_vip_brings_an_entry_for_its_address_as_a_whole() -> None:
    service = Service(IPv4Address("192.0.2.1"), protocol=6, port=443, stamp=0x1234, self_id=9)
    entries = {unpack_service(key, value) for key, value in pack_services((service,)).items()}
    assert entries == {service, Service(IPv4Address("192.0.2.1"), protocol=0, port=0, stamp=0, self_id=0)}


def test_the_mss_fits_the_tunnel_as_the_design_says() -> None:
    assert clamped_mss(1500) == (1432, 1412)
