"""What the elected leader writes: backend ids, epochs on offer, epochs made current.

Decides: which records follow from the operator's wishes, from health and from what members acknowledged. A
leader is a function of the fleet's memory and may be replaced by another at any time; what it remembers
itself (when it first saw an offer) only bounds waiting. Does not decide what an epoch contains
(`lbnode.core.epochs`), nor whether a change must be held: admission is a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lbnode.core.epochs import Inputs, NextEpoch, derive, same_shape, seal
from lbnode.core.health import majority
from lbnode.core.ids import LedgerFullError, allot
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Pool
from lbnode.model.ids import BackendId, BackendName, EpochNumber, PoolName
from lbnode.model.members import BackendMember
from lbnode.model.view import FleetView, IdLedger

ACKNOWLEDGE_S = 0.2
"""How long an offer waits for members that do not answer; then it goes on and they are named (design.md §6)."""

FOUNDATIONS = frozenset({"identity", "desired", "intents", "ids"})
"""Records without which nothing may be derived: a leader that cannot read one of them changes nothing."""

KEEP_EPOCHS = 8
"""How many epochs before the current one stay in the store, for operators who ask what happened."""


@dataclass(frozen=True, slots=True)
class FoundFleet:
    """Write the fleet's identity: its UUID and its first secret."""


@dataclass(frozen=True, slots=True)
class PutIds:
    ledger: IdLedger


@dataclass(frozen=True, slots=True)
class PutBackend:
    member: BackendMember


@dataclass(frozen=True, slots=True)
class RemoveBackend:
    name: BackendName


@dataclass(frozen=True, slots=True)
class OfferEpoch:
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class MakeCurrent:
    pool: PoolName
    number: EpochNumber
    laggards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetEpoch:
    pool: PoolName
    number: EpochNumber


@dataclass(frozen=True, slots=True)
class RetirePool:
    pool: PoolName


Command = (
    FoundFleet | PutIds | PutBackend | RemoveBackend | OfferEpoch | MakeCurrent | ForgetEpoch | RetirePool
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write, when to ask again even if nothing changes (monotonic seconds), and what operators must know."""

    commands: tuple[Command, ...] = ()
    wake_at: float | None = None
    alarms: tuple[str, ...] = ()


@dataclass(slots=True)
class Leader:
    """The leader's decisions; `handle` is called after each change of the view."""

    _offered_at: dict[tuple[PoolName, EpochNumber], float] = field(default_factory=dict)
    _up: dict[PoolName, dict[BackendName, bool]] = field(default_factory=dict)

    def handle(self, view: FleetView, now: float, wall: float) -> Decision:
        """Return what to write. `now` is the monotonic clock, `wall` the wall clock (for the age of released ids)."""
        if view.identity is None:
            return Decision((FoundFleet(),))
        unreadable = tuple(problem for problem in view.corrupt if problem.split(":")[0] in FOUNDATIONS)
        if unreadable:
            return Decision(alarms=unreadable)
        if view.desired is None:
            return Decision()
        registrations = tuple(self._register(view, view.desired, wall))
        if registrations:
            return Decision(registrations)
        commands: list[Command] = [RetirePool(pool) for pool in retired_pools(view, view.desired)]
        alarms: list[str] = []
        wake_at: float | None = None
        for pool in view.desired.pools:
            step = self._advance(view, pool, now)
            commands += step.commands
            alarms += step.alarms
            wake_at = earliest(wake_at, step.wake_at)
        return Decision(tuple(commands), wake_at, tuple(alarms))

    def _register(self, view: FleetView, desired: DesiredFleet, wall: float) -> Iterator[Command]:
        """Ids for new backends, changed addresses, agents that came or went, and the leavers' ids given back."""
        ledger = view.ids
        for backend in desired.backends:
            member = view.backends.get(backend.name)
            has_agent = backend.name in view.agents
            if member is None:
                try:
                    ledger, number = allot(ledger, wall, used_ids(view))
                except LedgerFullError:
                    continue
                yield PutIds(ledger)
                yield PutBackend(BackendMember(backend.name, number, backend.address, has_agent))
            elif (member.address, member.agent) != (backend.address, has_agent):
                yield PutBackend(replace(member, address=backend.address, agent=has_agent))
        wanted = {backend.name for backend in desired.backends}
        for name, member in view.backends.items():
            if name not in wanted and member.id not in named_ids(view):
                ledger = replace(ledger, released_at={**ledger.released_at, member.id: wall})
                yield PutIds(ledger)
                yield RemoveBackend(name)

    def _advance(self, view: FleetView, pool: Pool, now: float) -> Decision:
        """One pool's next step: finish what is on offer, else offer what has changed, else tidy up."""
        newest = view.newest(pool.name)
        if newest is not None and view.current.get(pool.name) != newest.number:
            return self._finish(view, newest, now)
        result = self._derive(view, pool, newest)
        if result is None:
            return Decision(alarms=(f"pool {pool.name}: waits until each of its backends has an id",))
        alarms = health_alarms(pool, result)
        if newest is not None and same_shape(newest, result.epoch):
            return Decision(tuple(stale_epochs(view, pool.name)), alarms=alarms)
        self._offered_at[pool.name, result.epoch.number] = now
        return Decision((OfferEpoch(seal(result.epoch)),), now + ACKNOWLEDGE_S, alarms)

    def _finish(self, view: FleetView, offered: Epoch, now: float) -> Decision:
        """Make an offer current once everybody connected has loaded it, or has had time enough."""
        since = self._offered_at.setdefault((offered.pool, offered.number), now)
        laggards = tuple(sorted(missing_acknowledgements(view, offered)))
        deadline = since + ACKNOWLEDGE_S
        if laggards and now < deadline:
            return Decision(wake_at=deadline)
        del self._offered_at[offered.pool, offered.number]
        return Decision((MakeCurrent(offered.pool, offered.number, laggards),))

    def _derive(self, view: FleetView, pool: Pool, newest: Epoch | None) -> NextEpoch | None:
        """None while some member of the pool has no id yet."""
        assert view.identity is not None
        ids = {name: member.id for name, member in view.backends.items()}
        if any(member.backend not in ids for member in pool.members):
            return None
        up = self._judge(view, pool)
        drained = view.intents.drained_backends.get(pool.name, ())
        return derive(pool, newest, Inputs(view.identity.uuid, ids, drained, up))

    def _judge(self, view: FleetView, pool: Pool) -> dict[BackendName, bool]:
        """The fleet's verdicts: what most connected nodes think; without any opinion, what was thought last."""
        known = self._up.setdefault(pool.name, {})
        for member in pool.members:
            opinions = [
                node.verdicts[pool.name][member.backend]
                for node in view.live_nodes.values()
                if member.backend in node.verdicts.get(pool.name, {})
            ]
            verdict = majority(opinions, known.get(member.backend))
            if verdict is not None:
                known[member.backend] = verdict
        return dict(known)


def missing_acknowledgements(view: FleetView, offered: Epoch) -> Iterator[str]:
    """Yield the connected nodes and agents that have not loaded `offered`; one with a problem is not awaited."""
    for name, node in view.live_nodes.items():
        loaded = node.pools.get(offered.pool)
        if loaded is not None and loaded.problem:
            continue
        if loaded is None or max(loaded.staged or 0, loaded.current or 0) < offered.number:
            yield f"node {name}"
    ids = {slot.backend for slot in offered.slots}
    for agent_name, agent in view.live_agents.items():
        member = view.backends.get(agent_name)
        if member is not None and member.id in ids and agent.pools.get(offered.pool, 0) < offered.number:
            yield f"backend {agent_name}"


def retired_pools(view: FleetView, desired: DesiredFleet) -> list[PoolName]:
    """Return the pools that have epochs but that nobody wants any more."""
    wanted = {pool.name for pool in desired.pools}
    return sorted((set(view.epochs) | set(view.current)) - wanted)


def stale_epochs(view: FleetView, pool: PoolName) -> Iterator[ForgetEpoch]:
    """Yield the epochs older than the window and the few kept for looking back."""
    current = view.current_epoch(pool)
    if current is None:
        return
    oldest = min(current.window_from, current.number - KEEP_EPOCHS)
    for number in sorted(view.epochs.get(pool, {})):
        if number < oldest:
            yield ForgetEpoch(pool, number)


def named_ids(view: FleetView) -> set[BackendId]:
    """Return every backend id that a current or offered epoch names: such an id is not given back."""
    named: set[BackendId] = set()
    for pool in view.epochs:
        for epoch in (view.current_epoch(pool), view.newest(pool)):
            if epoch is not None:
                named |= {slot.backend for slot in epoch.slots if slot.backend is not None}
                named |= {former.backend for former in epoch.former}
    return named


def used_ids(view: FleetView) -> set[BackendId]:
    """Return the ids that are given away or still named somewhere."""
    return named_ids(view) | {member.id for member in view.backends.values()}


def health_alarms(pool: Pool, result: NextEpoch) -> tuple[str, ...]:
    """Return what an operator must know about a pool that health may not take apart any further."""
    if result.all_down:
        return (f"pool {pool.name}: all backends are down; on_all_failed: {pool.on_all_failed.value}",)
    if result.withheld:
        names = ", ".join(sorted(result.withheld))
        return (
            f"pool {pool.name}: {names} down, but kept: health takes out at most {pool.health_cap_percent} % of a pool",
        )
    return ()


def earliest(one: float | None, other: float | None) -> float | None:
    """Return the smaller of two times, where None is never."""
    times = [time for time in (one, other) if time is not None]
    return min(times, default=None)
