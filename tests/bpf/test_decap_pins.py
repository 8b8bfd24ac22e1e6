"""What the backend's data plane leaves in the kernel, and what the next agent makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import pytest

from lbnode.dataplane.backend import AttachMode, BackendDataPlane, unload
from lbnode.dataplane.backend_layout import Address, MemberKind
from lbnode.dataplane.backend_pins import LINK_PIN, MAPS
from lbnode.dataplane.errors import AttachError
from lbnode.dataplane.libbpf import XdpMode
from lbnode.dataplane.pins import BACKEND
from lbnode.netdev import bpffs
from tests.bpf import decap_world
from tests.integration import cable as cables
from tests.integration.cable import Cable, inside, ip_json

T = TypeVar("T")
SELF, NODE = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.1")
SOURCES: dict[Address, MemberKind] = {NODE: MemberKind.NODE}
VIP = decap_world.WEB_VIP
KEY = VIP.key


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    bpffs.mount(tmp_path / "bpf")
    yield tmp_path / "bpf"
    bpffs.unmount(tmp_path / "bpf")


@pytest.fixture
def cable() -> Iterator[Cable]:
    with cables.laid() as laid:
        yield laid


def index_of(cable: Cable, name: str = "eth0") -> int:
    return int(ip_json("-n", cable.near, "link", "show", name)[0]["ifindex"])


def program_of(cable: Cable) -> int | None:
    (link,) = ip_json("-n", cable.near, "link", "show", "eth0")
    return int(link["xdp"]["prog"]["id"]) if "xdp" in link else None


def makings(directory: Path) -> list[Path]:
    return [*directory.glob(f"{BACKEND}-*")]


def with_plane(directory: Path, cable: Cable, work: Callable[[BackendDataPlane], T]) -> T:
    """Open the data plane inside the near namespace as a new agent does, and let go of it afterwards."""

    def run() -> T:
        with closing(BackendDataPlane.open(directory, [SELF])) as plane:
            return work(plane)

    return inside(cable.near, run)


def set_up(plane: BackendDataPlane, ifindex: int) -> None:
    plane.set_sources(SOURCES)
    plane.load(decap_world.table(VIP.pool, 1))
    plane.set_vips([VIP], [KEY])
    plane.attach(ifindex, AttachMode.AUTO)


def test_the_next_agent_adopts_maps_and_puts_its_program_on_the_link(directory: Path, cable: Cable) -> None:
    ifindex = index_of(cable)
    with_plane(directory, cable, lambda plane: set_up(plane, ifindex))
    first = program_of(cable)
    assert first is not None

    def adopt(plane: BackendDataPlane) -> None:
        assert (plane.sources(), plane.vips(), plane.heard()) == (SOURCES, (VIP,), frozenset({KEY}))
        assert plane.tables()[VIP.pool].current is not None
        assert plane.attach(ifindex, AttachMode.AUTO).mode is XdpMode.NATIVE

    with_plane(directory, cable, adopt)
    assert program_of(cable) not in (None, first)


def test_a_whole_desired_set_replaces_the_one_before(directory: Path, cable: Cable) -> None:
    def work(plane: BackendDataPlane) -> None:
        set_up(plane, index_of(cable))
        other: dict[Address, MemberKind] = {SELF: MemberKind.BACKEND}
        plane.set_sources(other)
        plane.set_vips([decap_world.UDP_VIP])
        assert (plane.sources(), plane.vips(), plane.heard()) == (other, (decap_world.UDP_VIP,), frozenset())

    with_plane(directory, cable, work)


def test_tables_of_another_size_get_maps_of_their_own(directory: Path, cable: Cable) -> None:
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))

    def grow() -> None:
        with closing(BackendDataPlane.open(directory, [SELF], table_places=1 << 20)) as plane:
            set_up(plane, index_of(cable))

    inside(cable.near, grow)
    assert len(makings(directory)) == 1


def test_maps_of_another_making_go_only_once_the_new_program_runs(directory: Path, cable: Cable) -> None:
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    (before,) = makings(directory)

    def upgrade() -> None:
        with closing(BackendDataPlane.open(directory, [SELF], table_places=1 << 20)) as plane:
            assert plane.is_waiting
            assert plane.sources() == {}
            assert (directory / BACKEND).readlink().name == before.name
            set_up(plane, index_of(cable))
            assert not plane.is_waiting
        assert not before.exists()

    inside(cable.near, upgrade)


def test_maps_that_an_agent_left_unfinished_are_made_anew_by_the_next(directory: Path, cable: Cable) -> None:
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    for _ in range(2):
        BackendDataPlane.open(directory, [SELF], table_places=1 << 20).close()
    assert len(makings(directory)) == 2
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    assert len(makings(directory)) == 1


def test_pins_that_a_crash_left_incomplete_are_made_anew(directory: Path, cable: Cable) -> None:
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    (directory / BACKEND / MAPS[-1]).unlink()
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    assert {path.name for path in (directory / BACKEND).iterdir()} == set(MAPS)


def test_a_device_without_native_xdp_gets_generic_and_a_reason(directory: Path, cable: Cable) -> None:
    lo = index_of(cable, "lo")
    attached = with_plane(directory, cable, lambda plane: plane.attach(lo, AttachMode.AUTO))
    assert attached.mode is XdpMode.GENERIC
    assert "native" in attached.reason
    assert str(attached).startswith("generic: ")


def test_native_alone_is_refused_with_the_reason(directory: Path, cable: Cable) -> None:
    lo = index_of(cable, "lo")
    with pytest.raises(AttachError, match="native"):
        with_plane(directory, cable, lambda plane: plane.attach(lo, AttachMode.NATIVE))


@pytest.mark.parametrize("mode", [AttachMode.GENERIC, AttachMode.NATIVE])
def test_a_changed_mode_takes_effect(directory: Path, cable: Cable, mode: AttachMode) -> None:
    ifindex = index_of(cable)
    other = AttachMode.NATIVE if mode is AttachMode.GENERIC else AttachMode.GENERIC
    with_plane(directory, cable, lambda plane: plane.attach(ifindex, other))
    attached = with_plane(directory, cable, lambda plane: plane.attach(ifindex, mode))
    assert attached.mode.name.lower() == mode.value


def test_a_pin_of_an_interface_that_is_gone_does_not_stand_in_the_way(directory: Path) -> None:
    with cables.laid() as gone:
        with_plane(directory, gone, lambda plane: set_up(plane, index_of(gone)))
    with cables.laid() as cable:
        with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
        assert program_of(cable) is not None


def test_unload_removes_program_and_pins(directory: Path, cable: Cable) -> None:
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    assert (directory / LINK_PIN).exists()
    assert unload(directory)
    assert program_of(cable) is None
    assert not [*directory.glob(f"{BACKEND}*"), *directory.glob(LINK_PIN)]
    assert not unload(directory)


def test_what_is_pinned_can_be_read_without_an_agent(directory: Path, cable: Cable) -> None:
    assert inside(cable.near, lambda: BackendDataPlane.read(directory)) is None
    with_plane(directory, cable, lambda plane: set_up(plane, index_of(cable)))
    found = inside(cable.near, lambda: BackendDataPlane.read(directory))
    assert found is not None
    assert (found.sources, found.vips, found.xdp) == (SOURCES, (VIP,), "native")
    assert set(found.counters) >= {"untouched", "delivered_in_sync", "drop_stranger"}
