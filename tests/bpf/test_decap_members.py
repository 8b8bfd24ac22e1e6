"""Members are found near or far: who else leads to their place is none, and nobody who left is one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.backend_layout import Address, MemberKind, pack_sender
from lbnode.dataplane.libbpf import Map
from lbnode.dataplane.members import choose_near, near_place
from lbnode.dataplane.pins import BACKEND
from tests.bpf import decap_world
from tests.bpf.decap_frames import TCP, Wrapping, ipv4, ports
from tests.bpf.decap_world import NODE, NODE6, SELF, SELF6, STAMP, VIP

PLACES = 1 << 12
INNER = ipv4(VIP, TCP, ports(80))


def meeting(address: Address) -> Address:
    """Return another address that leads to the same place."""
    others = (address + step for step in range(1, 1 << 16))
    return next(other for other in others if near_place(other, PLACES) == near_place(address, PLACES))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "pins"
    path.mkdir()
    return path


@pytest.fixture
def plane(directory: Path) -> Iterator[BackendDataPlane]:
    with decap_world.backend_of(decap_world.model(), directory) as opened:
        yield opened


def is_let_in(plane: BackendDataPlane, sender: Address) -> bool:
    before = plane.counters()["drop_stranger"].packets
    own = SELF if isinstance(sender, IPv4Address) else SELF6
    plane.program.test_run(Wrapping(sender, own, stamp=STAMP).frame(INNER))
    return plane.counters()["drop_stranger"].packets == before


@pytest.mark.parametrize("member", [NODE, NODE6], ids=str)
def test_members_that_meet_are_let_in_and_a_stranger_who_meets_them_is_not(
    plane: BackendDataPlane, member: Address
) -> None:
    other = meeting(member)
    stranger = meeting(other)
    plane.set_sources({member: MemberKind.NODE, other: MemberKind.NODE})
    assert [is_let_in(plane, each) for each in (member, other, stranger)] == [True, True, False]


def test_an_address_of_ipv6_is_not_the_member_of_ipv4_that_has_its_words(plane: BackendDataPlane) -> None:
    plane.set_sources({NODE: MemberKind.NODE})
    assert not is_let_in(plane, IPv6Address(int(NODE)))


def test_a_member_that_takes_anothers_place_leaves_it_out(plane: BackendDataPlane) -> None:
    other = meeting(NODE)
    sets: list[dict[Address, MemberKind]] = [{NODE: MemberKind.NODE}, {other: MemberKind.NODE}, {}]
    for sources in sets:
        plane.set_sources(sources)
        assert [is_let_in(plane, each) for each in (NODE, other)] == [NODE in sources, other in sources]


def test_a_member_that_becomes_another_kind_counts_as_that(plane: BackendDataPlane) -> None:
    hops = []
    for kind in (MemberKind.NODE, MemberKind.BACKEND):
        plane.set_sources({NODE: kind})
        before = plane.counters()["extra_hop"].packets
        assert is_let_in(plane, NODE)
        hops.append(plane.counters()["extra_hop"].packets - before)
    assert hops == [0, 1]


def test_who_is_near_is_found_without_the_map(plane: BackendDataPlane, directory: Path) -> None:
    other = meeting(NODE)
    plane.set_sources({NODE: MemberKind.NODE, other: MemberKind.NODE})
    (pinned,) = directory.glob(f"{BACKEND}-*/sources")
    sources = Map.open_pinned(pinned)
    for each in (NODE, other):
        assert sources.delete(pack_sender(each))
    sources.close()
    assert [is_let_in(plane, each) for each in (NODE, other)] == [True, False]


def test_nodes_are_near_before_backends_in_whatever_order_they_come() -> None:
    other = meeting(NODE)
    members = {NODE: MemberKind.BACKEND, other: MemberKind.NODE, NODE6: MemberKind.NODE}
    assert set(choose_near(members, PLACES).values()) == {other, NODE6}
    assert choose_near(dict(reversed(members.items())), PLACES) == choose_near(members, PLACES)
