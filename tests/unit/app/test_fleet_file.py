"""The watched fleet.yaml, with the real file store behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lbnode.app.fleet_file import FleetFile
from lbnode.app.leadership import Leadership
from lbnode.daemon.memory import Memory
from lbnode.model.ids import NodeName
from lbnode.store.copy import DiskCopy
from lbnode.store.files import FileTree

FLEET = """
fleet: demo
backends: [{name: b1, address: 10.0.0.1}, {name: b2, address: 10.0.0.2}]
pools: [{name: web, backends: [b1, %s], table_size: 251}]
vips: [{address: 192.0.2.10, port: 80, protocol: tcp, pool: web}]
"""


class Machine:
    """A single machine's memory and leader, turned by hand."""

    def __init__(self, path: Path) -> None:
        self.file = path / "fleet.yaml"
        self.memory = Memory(FileTree(path / "store"), DiskCopy(path / "state"))
        self.changed = asyncio.Event()
        self.leadership = Leadership(self.memory.store, NodeName("n1"), "demo", self.changed.set)
        self.watch = FleetFile(self.file)

    async def turn(self) -> None:
        """One pass of what the daemon does, as far as the fleet file matters."""
        view = self.memory.view()
        await self.leadership.step(view, 0.0)
        await self.watch.apply(self.memory, self.memory.view(), self.leadership.leading)

    async def settle(self, pools: int) -> None:
        """Turn until the desired fleet has so many members in its pool."""
        async with asyncio.timeout(10):
            while True:
                await self.turn()
                desired = self.memory.view().desired
                if desired is not None and len(desired.pools[0].members) == pools:
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path)
    await machine.memory.start(machine.changed.set)
    machine.leadership.start()
    yield machine
    await machine.leadership.stop()
    await machine.memory.close()


async def test_the_file_is_applied_when_it_appears_and_again_when_it_changes(machine: Machine) -> None:
    machine.file.write_text(FLEET % "b2")
    await machine.settle(pools=2)
    machine.file.write_text((FLEET % "b2").replace("[b1, b2]", "[b1]"))
    await machine.settle(pools=1)
    assert machine.watch.problem == ""


async def test_a_file_that_does_not_pass_its_checks_changes_nothing_and_is_an_alarm(machine: Machine) -> None:
    machine.file.write_text(FLEET % "b2")
    await machine.settle(pools=2)
    before = machine.memory.view().desired
    machine.file.write_text(FLEET % "b7")
    await machine.turn()
    assert machine.memory.view().desired == before
    assert "b7" in machine.watch.problem
    assert str(machine.file.name) in machine.watch.problem
    machine.file.write_text(FLEET % "{name: b2, weight: 3}")
    await machine.turn()
    assert machine.watch.problem == ""


async def test_a_file_that_is_gone_is_an_alarm_and_changes_nothing(machine: Machine) -> None:
    machine.file.write_text(FLEET % "b2")
    await machine.settle(pools=2)
    machine.file.unlink()
    await machine.turn()
    assert "No such file" in machine.watch.problem
    assert machine.memory.view().desired is not None
