"""One agent on a cable to a node that sends, and a server on its VIP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lbnode.netdev import bpffs
from tests.integration import cable as cables
from tests.integration import tunnel
from tests.integration.agent.machine import VIP, Backend
from tests.integration.agent.traffic import echo
from tests.integration.cable import Cable
from tests.integration.memory import found_fleet
from tests.integration.tunnel import Node
from tests.unit.backend import fleets


@pytest.fixture
def cable() -> Iterator[Cable]:
    with cables.laid() as laid:
        yield laid


@pytest.fixture
def node(cable: Cable) -> Iterator[Node]:
    with tunnel.sending(cable, VIP) as sender:
        sender.stamp = 3
        yield sender


@pytest.fixture
def backend(cable: Cable, tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        stack.callback(bpffs.unmount, tmp_path / "run" / "bpf")
        made = Backend(cable, tmp_path, stack)
        made.in_store(lambda store: found_fleet(store, fleets.view(fleets.epoch(3, fleets.ID1))))
        yield made


@pytest.fixture
def server(cable: Cable) -> Iterator[None]:
    with echo(cable):
        yield
