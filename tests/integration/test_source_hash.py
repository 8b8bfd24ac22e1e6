"""`hash: source` on real traffic: whatever its ports, a client reaches one backend, and it keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.agents import PORT, ask
from tests.integration.cable import eventually
from tests.integration.fleet_of_one import fleet_of, node_on, owners, segment_behind_a_node

CONNECTIONS = 24


@pytest.mark.parametrize(("mode", "reached"), [("source", 1), ("flow", 2)])
def test_a_client_reaches_one_backend_by_its_address_alone(tmp_path: Path, mode: str, reached: int) -> None:
    with segment_behind_a_node(tmp_path) as segment:
        fleet = fleet_of(segment, {"port": PORT, "protocol": "tcp"}, hash=mode)
        with node_on(segment, tmp_path, fleet) as node:
            eventually("both serve", lambda: node.status().agree and owners(node) == {"b1", "b2"})
            answers = set()
            for number in range(CONNECTIONS):
                with segment.connect() as connection:
                    answers.add(ask(connection, f"{number}"))
            assert len(answers) == reached
