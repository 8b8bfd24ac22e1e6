"""Another daemon takes over what the last one left in the kernel; packets never notice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnode.dataplane.errors import LayoutError, PinError
from lbnode.dataplane.inspection import Inspection
from lbnode.dataplane.libbpf import Map
from lbnode.dataplane.node import NodeDataPlane, unload
from lbnode.dataplane.node_snapshot import read_node
from lbnode.dataplane.values import Limits
from lbnode.model.ids import PoolName
from tests.bpf import node_frames as frames
from tests.bpf.node_world import BACKENDS, SMALL, VIPS, fill, make_model, make_table, mounted

CRASHING_DAEMON = """
import os, signal, sys
from pathlib import Path
from lbnode.dataplane.node import NodeDataPlane
from tests.bpf.node_world import SMALL, fill
fill(NodeDataPlane.open(Path(sys.argv[1]), SMALL))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def pins() -> Iterator[Path]:
    with mounted() as directory:
        yield directory


def pinned(directory: Path) -> set[str]:
    """What is on the file system beside the kernel's own maps.debug and progs.debug."""
    return {path.name for path in directory.iterdir() if path.suffix != ".debug"}


def assert_serves(node: NodeDataPlane) -> None:
    """Every proper frame has the fate that the model says."""
    model = make_model()
    for frame in frames.proper():
        assert node.program.test_run(frame).data == model.process(frame).frame


def test_a_daemon_adopts_tables_vips_and_backends_of_one_that_was_killed(pins: Path) -> None:
    crash = subprocess.run([sys.executable, "-c", CRASHING_DAEMON, str(pins)], timeout=60, check=False)
    assert crash.returncode == -signal.SIGKILL
    with NodeDataPlane.open(pins, SMALL) as node:
        assert node.is_adopted
        assert_serves(node)
        tables = node.tables()
        assert {pool for pool, each in tables.items() if each.current} == {
            "quic",
            "sip",
            "sipsticky",
            "six",
            "sticky",
            "web",
        }
        assert tables[PoolName("later")].staged is not None
        assert set(node.backend_counters()) == {entry.id for entry in BACKENDS}
        assert set(node.vip_counters()) == {(vip.address, vip.protocol, vip.port) for vip in VIPS}


def test_an_adopted_table_can_be_switched_and_staged_over_until_places_are_reused(pins: Path) -> None:
    with NodeDataPlane.open(pins, SMALL) as node:
        fill(node)
    with NodeDataPlane.open(pins, SMALL) as node:
        node.switch(PoolName("later"))
        for epoch in range(80000, 80060):
            node.stage(make_table("web", epoch))
            node.switch(PoolName("web"))
        current = node.tables()[PoolName("web")].current
        assert current is not None
        assert current.epoch == 80059
        assert node.tables()[PoolName("sticky")].current is not None


def test_setting_the_same_world_again_after_adoption_keeps_counters(pins: Path) -> None:
    with NodeDataPlane.open(pins, SMALL) as node:
        fill(node)
        assert_serves(node)
        before = node.vip_counters(), node.backend_counters()
    with NodeDataPlane.open(pins, SMALL) as node:
        fill(node)
        assert (node.vip_counters(), node.backend_counters()) == before
        assert_serves(node)


def test_other_limits_get_maps_of_their_own(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).close()
    NodeDataPlane.open(pins, Limits(table_places=1 << 21)).close()
    assert Map.open_pinned(pins / "node" / "tables").max_entries == 4
    assert len(pinned(pins)) == 2


def test_another_process_reads_epochs_and_counters_from_the_kernel(pins: Path) -> None:
    with NodeDataPlane.open(pins, SMALL) as node:
        fill(node)
        assert_serves(node)
        inspection = Inspection.open(pins)
        assert inspection.tables() == node.tables()
        assert inspection.counters() == node.counters()


def test_nothing_to_inspect_is_named(pins: Path) -> None:
    with pytest.raises(PinError, match="is lbnode running"):
        Inspection.open(pins)


def test_maps_of_another_release_are_not_read(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).close()
    of_another(pins)
    with pytest.raises(LayoutError, match="another release: ask that one's"):
        Inspection.open(pins)
    with pytest.raises(LayoutError, match="another release: ask that one's"):
        read_node(pins)


def of_another(pins: Path) -> None:
    """Let the maps in use be another release's, by their name."""
    making = (pins / "node").readlink().name
    (pins / making).rename(pins / "node-0-0-0")
    (pins / "node").unlink()
    (pins / "node").symlink_to("node-0-0-0")


def test_maps_of_another_release_that_no_interface_uses_are_replaced(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).close()
    of_another(pins)
    with NodeDataPlane.open(pins, SMALL) as node:
        assert not node.is_adopted
        fill(node)
        assert_serves(node)
    assert len(pinned(pins)) == 2


def test_maps_of_which_one_is_missing_are_made_anew(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).close()
    (pins / "node" / "tables").unlink()
    with NodeDataPlane.open(pins, SMALL) as node:
        assert not node.is_adopted
        fill(node)
        assert_serves(node)


def test_pins_that_were_not_finished_are_made_anew(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).close()
    making = (pins / "node").readlink().name
    (pins / "node").unlink()
    (pins / making).rename(pins / "node-unfinished")
    with NodeDataPlane.open(pins, SMALL) as node:
        assert not node.is_adopted
    assert pinned(pins) == {"node", making}


def test_unload_leaves_nothing(pins: Path) -> None:
    NodeDataPlane.open(pins, SMALL).unload()
    assert pinned(pins) == set()
    assert not unload(pins)


def test_a_directory_that_is_no_bpffs_is_named(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="on a mounted bpffs"):
        NodeDataPlane.open(tmp_path, SMALL)
