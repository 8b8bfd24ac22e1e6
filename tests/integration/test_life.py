"""A node's daemon is killed, restarted and upgraded while packets flow: every one that is sent is forwarded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.life.drill import PHASES, run

PACKETS = 1_000_000
RATE = 200_000


@pytest.mark.timeout(300)
def test_no_packet_is_lost_whatever_happens_to_the_daemon(tmp_path: Path) -> None:
    phases = list(run(tmp_path, PACKETS, RATE))
    assert [phase.name for phase in phases] == [name for name, _ in PHASES]
    assert {phase.name: phase.packets.lost for phase in phases if phase.packets.lost} == {}
    assert sum(phase.packets.sent for phase in phases) >= PACKETS
