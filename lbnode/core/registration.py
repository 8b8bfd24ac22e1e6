"""Who has which id: backends that join get one, those that are gone give it back.

Decides: ids, addresses and "has the agent" of backend members, and when one is gone: when nobody wants it, no epoch
names it, and its agent has ended. Until then nodes that are behind may still send to it, and it passes on what is
not its own: that others take from members alone. Does not decide who is wanted besides those that the operator lists
(`lbnode.core.joining`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lbnode.core.ids import LedgerFullError, allot
from lbnode.core.joining import void_registrations, wanted_fleet
from lbnode.core.writes import ForgetAgent, PutBackend, PutIds, RemoveBackend, Write
from lbnode.model.fleet import DesiredFleet
from lbnode.model.ids import BackendId
from lbnode.model.members import BackendMember
from lbnode.model.view import FleetView


def register(view: FleetView, desired: DesiredFleet, wall: float) -> Iterator[Write]:
    """Yield what follows for members from the wanted fleet, the agents and the epochs. `wall`: the wall clock."""
    ledger = view.ids
    yield from map(ForgetAgent, void_registrations(view))
    for backend in desired.backends:
        member = view.backends.get(backend.name)
        has_agent = backend.name in view.agents
        if member is None:
            try:
                ledger, number = allot(ledger, wall, used_ids(view))
            except LedgerFullError:
                continue
            yield PutIds(ledger)
            yield PutBackend(BackendMember(backend.name, number, backend.addresses, has_agent))
        elif (member.addresses, member.agent) != (backend.addresses, has_agent):
            yield PutBackend(replace(member, addresses=backend.addresses, agent=has_agent))
    wanted = {backend.name for backend in desired.backends}
    named = named_ids(view)
    for name, member in view.backends.items():
        if name not in wanted and member.id not in named and name not in view.live_agents:
            ledger = replace(ledger, released_at={**ledger.released_at, member.id: wall})
            yield PutIds(ledger)
            yield RemoveBackend(name)


def awaited_agents(view: FleetView) -> frozenset[BackendId]:
    """Return the backends that should have an agent, as the operator said, and whose agent is not connected."""
    wanted = wanted_fleet(view)
    backends = wanted.backends if wanted is not None else ()
    expected = {backend.name for backend in backends if backend.agent} - set(view.live_agents)
    return frozenset(view.backends[name].id for name in expected if name in view.backends)


def named_ids(view: FleetView) -> set[BackendId]:
    """Return every backend id that a current or offered epoch names: such an id is not given back."""
    named: set[BackendId] = set()
    for pool in view.epochs:
        for epoch in (view.current_epoch(pool), view.newest(pool)):
            if epoch is not None:
                named |= epoch.named
    return named


def used_ids(view: FleetView) -> set[BackendId]:
    """Return the ids that are given away or still named somewhere."""
    return named_ids(view) | {member.id for member in view.backends.values()}
