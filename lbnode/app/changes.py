"""Operators' requests carried out: decided on the newest view, written under the versions they were decided on."""

from __future__ import annotations

import structlog

from lbnode.core.control import decide, depends_on_liveness
from lbnode.core.plan import Plan
from lbnode.daemon.memory import Memory
from lbnode.model.requests import Apply, Outcome, Refusal, RefusalKind, Request
from lbnode.store.tree import ConflictError, StoreError

log = structlog.get_logger()

ATTEMPTS = 5
"""How often a request is decided anew because somebody else wrote in between."""


async def carry_out(memory: Memory, request: Request) -> Outcome | Refusal:
    """Decide `request`, write what follows, and return what the operator is told."""
    dry_run = isinstance(request, Apply) and request.dry_run
    if depends_on_liveness(request):
        await memory.store.catch_up()
    for _ in range(ATTEMPTS):
        if memory.problem:
            return Refusal(RefusalKind.UNAVAILABLE, memory.problem)
        decision = decide(memory.view(), request)
        if isinstance(decision, Refusal) or dry_run:
            return decision if isinstance(decision, Refusal) else decision.outcome(applied=False)
        try:
            await write(memory, decision)
        except ConflictError:
            continue
        except StoreError as error:
            return Refusal(
                RefusalKind.UNAVAILABLE, str(error), "see whether the change took place: lbctl status"
            )
        log.info("change", what=[str(difference) for difference in decision.differences])
        return decision.outcome(applied=True)
    return Refusal(RefusalKind.CONFLICT, "the fleet keeps being changed by somebody else", "try again")


async def write(memory: Memory, plan: Plan) -> None:
    """Write what a plan changes. Raises ConflictError when a record is not the one that was decided on."""
    if plan.desired is not None:
        await memory.store.write_desired(plan.desired, plan.desired_version)
    if plan.intents is not None:
        await memory.store.write_intents(plan.intents, plan.intents_version)
    if plan.removed_node is not None:
        await memory.store.remove_node(plan.removed_node)
    if plan.removed_agent is not None:
        await memory.store.remove_agent(plan.removed_agent)
