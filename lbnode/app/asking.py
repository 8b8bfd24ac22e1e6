"""Asking agents for their flows on behalf of an operator, as the leader does when a change has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from lbnode.daemon.memory import Memory
from lbnode.model.epoch import Epoch
from lbnode.model.flows import FlowQuestion
from lbnode.model.ids import BackendId, BackendName
from lbnode.model.view import FleetView
from lbnode.store.tree import StoreError

PATIENCE_S = 2.0
"""How long an operator waits for agents; who has not answered by then is not counted."""

LOOK_S = 0.1


async def ask_agents(memory: Memory, view: FleetView) -> None:
    """Return when the agents of all pools have answered how many flows they hold now, or have had time enough.

    Without contact to the store nobody is asked.
    """
    questions = list(_questions(view)) if view.connected else []
    try:
        for question in questions:
            await memory.store.ask(question)
        async with asyncio.timeout(PATIENCE_S):
            while any(_silent(memory.view(), questions)):
                await asyncio.sleep(LOOK_S)
                await memory.store.catch_up()
    except (StoreError, TimeoutError):
        return


def _questions(view: FleetView) -> Iterator[FlowQuestion]:
    """The next question of each pool."""
    for pool in sorted(view.current):
        epoch, asked = view.current_epoch(pool), view.questions.get(pool)
        if epoch is not None:
            yield FlowQuestion(pool, asked.number + 1 if asked else 1, epoch.number)


def _silent(view: FleetView, questions: Iterable[FlowQuestion]) -> Iterator[BackendName]:
    """Connected agents whose answers are still to come; a newer question answers an older one."""
    names = {member.id: name for name, member in view.backends.items()}
    for question in questions:
        epoch = view.current_epoch(question.pool)
        if epoch is None or epoch.number != question.epoch:
            continue
        reports = view.reports.get(question.pool, {})
        for name in sorted({names[number] for number in _members(epoch) if number in names}):
            answer = reports.get(name)
            if name in view.live_agents and (answer is None or answer.question < question.number):
                yield name


def _members(epoch: Epoch) -> Iterator[BackendId]:
    yield from (slot.backend for slot in epoch.slots if slot.backend is not None)
    yield from (former.backend for former in epoch.former)
