"""A node's daemon is killed, restarted and upgraded while packets flow: every one that is sent is forwarded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.cable import eventually
from tests.integration.nodes import node_machine
from tests.life.drill import PHASES, PLACES, forwards, run, set_up

PACKETS = 1_000_000
RATE = 200_000


@pytest.mark.timeout(300)
def test_no_packet_is_lost_whatever_happens_to_the_daemon(tmp_path: Path) -> None:
    phases = list(run(tmp_path, PACKETS, RATE))
    assert [phase.name for phase in phases] == [name for name, _ in PHASES]
    assert {phase.name: phase.packets.lost for phase in phases if phase.packets.lost} == {}
    assert sum(phase.packets.sent for phase in phases) >= PACKETS


def test_a_daemon_that_knows_nothing_leaves_packets_to_the_maps_in_use(tmp_path: Path) -> None:
    """With maps of another size, no store, and no copy on disk."""
    with node_machine(tmp_path) as node:
        set_up(node)
        in_use = node.pins / "node"
        before = in_use.readlink()
        node.stop()
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        node.launch(table_places=PLACES, store={"kind": "zookeeper", "hosts": ["127.0.0.1:1"]})
        eventually("it says what it waits for", lambda: "nothing is known of the fleet yet" in node.log)
        assert forwards(node)
        assert in_use.readlink() == before
        node.stop()
        node.start(table_places=PLACES)
        eventually("its own maps are in use", lambda: in_use.readlink() != before)
        assert forwards(node)
