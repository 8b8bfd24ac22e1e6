"""`lbnode unload` leaves nothing in the kernel, and no place where it was."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cable import eventually, ip_json
from tests.integration.kernel_things import left_of, things_of
from tests.integration.nodes import node_machine
from tests.life.drill import set_up


def test_unload_leaves_nothing(tmp_path: Path) -> None:
    with node_machine(tmp_path) as node:
        set_up(node)
        (link,) = node.pins.glob("link_*")
        things = things_of(link, node.pins / "node")
        assert len(things) > 10
        node.stop()
        assert left_of(things) == things
        node.run("unload")
        eventually("nothing is left", lambda: not left_of(things))
        assert not node.pins.exists()
        (interface,) = ip_json("-n", node.cable.near, "-d", "link", "show", "eth0")
        assert "xdp" not in interface
        assert node.run("unload")
