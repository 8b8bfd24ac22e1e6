"""Before a plan agents are asked for their flows: over the real file store, with a test in the agent's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest_asyncio

from lbnode.app.asking import PATIENCE_S, ask_agents
from lbnode.daemon.memory import Memory
from lbnode.model.flows import FlowQuestion, FlowReport
from lbnode.store.copy import DiskCopy
from lbnode.store.files import FileTree
from tests.unit.store import fleets

FIRST = FlowQuestion(fleets.WEB, 1, fleets.epoch(1).number)


@pytest_asyncio.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    """A fleet with one backend, whose agent is connected, and an epoch in which it sits."""
    memory = Memory(FileTree(tmp_path / "store"), DiskCopy(tmp_path / "state"))
    await memory.start(lambda: None)
    store = memory.store
    assert await store.wait_in_step(5)
    await store.create_identity(fleets.IDENTITY)
    await store.put_backend(fleets.BACKEND)
    await store.create_epoch(fleets.epoch(1))
    await store.set_current(fleets.WEB, fleets.epoch(1).number)
    await store.announce_live_agent(fleets.LIVE_AGENT)
    async with asyncio.timeout(5):
        while not (memory.view().current and memory.view().live_agents):
            await asyncio.sleep(0.01)
    yield memory
    await memory.close()


async def answer(memory: Memory) -> None:
    """Answer the next question, as the agent does."""
    while fleets.WEB not in memory.view().questions:
        await asyncio.sleep(0.01)
    counts = np.zeros(65537, dtype=np.uint16)
    await memory.store.announce_report(
        FlowReport.of(fleets.BACKEND.name, memory.view().questions[fleets.WEB], counts)
    )


async def test_it_ends_when_every_connected_agent_has_answered(memory: Memory) -> None:
    async with asyncio.timeout(PATIENCE_S - 0.5), asyncio.TaskGroup() as group:
        group.create_task(answer(memory))
        group.create_task(ask_agents(memory, memory.view()))

    assert memory.view().reports[fleets.WEB][fleets.BACKEND.name].question == FIRST.number


async def test_an_older_answer_does_not_do(memory: Memory) -> None:
    await memory.store.ask(FIRST)
    await answer(memory)
    async with asyncio.timeout(5):
        while not memory.view().reports.get(fleets.WEB):
            await asyncio.sleep(0.01)

    await ask_agents(memory, memory.view())

    assert memory.view().questions[fleets.WEB].number == FIRST.number + 1


async def test_without_contact_nobody_is_asked(memory: Memory) -> None:
    view = memory.view()
    await memory.close()
    async with asyncio.timeout(PATIENCE_S - 0.5):
        await ask_agents(memory, view)
