"""What the elected leader writes: members, epochs on offer, epochs made current, questions and held changes.

Decides: which records follow from the operator's wishes, from health and from what members acknowledged. A
leader is a function of the fleet's memory and may be replaced by another at any time; what it remembers itself
(when it first saw something) only bounds waiting. Does not decide what an epoch contains (`lbnode.core.epochs`),
how long earlier ones count (`lbnode.core.history`), or what must wait (`lbnode.core.admission`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lbnode.core.admission import Admitted, is_planned
from lbnode.core.admissions import Admissions
from lbnode.core.damage import (
    WAY_OUT,
    damaged_after,
    follow_readable,
    is_forced,
    restorable,
    standstill,
    unreadable_foundations,
)
from lbnode.core.epochs import Inputs, NextEpoch, derive, same_shape
from lbnode.core.flows import drained_out, held_changes
from lbnode.core.health import majority
from lbnode.core.history import (
    MissingEpochError,
    earlier_epochs,
    failed,
    seal,
    with_window,
)
from lbnode.core.joining import drained, wanted_fleet
from lbnode.core.judged import judged
from lbnode.core.lateness import next_closing, next_window
from lbnode.core.registration import awaited_agents, register
from lbnode.core.writes import (
    AskForFlows,
    ForgetEpoch,
    FoundFleet,
    MakeCurrent,
    OfferEpoch,
    PutHeld,
    RestoreEpoch,
    RetirePool,
    Write,
)
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Pool
from lbnode.model.flows import FlowQuestion, HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, NodeName, PoolName
from lbnode.model.view import FleetView

ACKNOWLEDGE_S = 0.2
"""How long an offer waits for members that do not answer; then it goes on and they are named (design.md §6)."""

AGENTS_LOAD_S = 2.0
"""How long a planned change waits for connected agents: one that goes by the epoch before takes a list that came to its
end for the whole truth, and ends flows that the new owner holds (docs/adr/0012)."""

SETTLE_S = 0.5
"""How long after a switch agents are asked for flows: by then no node sends new ones to the owners before."""

ASK_AGAIN_S = 1.0
"""How often agents are asked while a change is held."""

COUNTED_S = 2.5
"""How long an epoch must have been current before "no flows" of a former occupant is believed: counts are told
once a second."""

KEEP_EPOCHS = 8
"""How many epochs before the window stay in the store, for operators who ask what happened."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write, when to ask again even if nothing changes (monotonic seconds), and what operators must know."""

    commands: tuple[Write, ...] = ()
    wake_at: float | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Laggards:
    """Connected members that have not loaded an epoch on offer."""

    nodes: tuple[NodeName, ...] = ()
    agents: tuple[BackendName, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, for people."""
        return (
            *(f"backend {name}" for name in self.agents),
            *(f"node {name}" for name in self.nodes),
        )


@dataclass(slots=True)
class Leader:
    """The leader's decisions; `handle` is called after each change of the view."""

    _offered_at: dict[tuple[PoolName, EpochNumber], float] = field(default_factory=dict)
    _current_at: dict[PoolName, tuple[EpochNumber, float]] = field(default_factory=dict)
    _asked_at: dict[PoolName, float] = field(default_factory=dict)
    _up: dict[PoolName, dict[BackendName, bool]] = field(default_factory=dict)
    _admissions: Admissions = field(default_factory=Admissions)

    def handle(self, view: FleetView, now: float, wall: float) -> Decision:
        """Return what to write. `now` is the monotonic clock, `wall` the wall clock (windows, age of released ids)."""
        if view.identity is None:
            return Decision((FoundFleet(),))
        unreadable = tuple(unreadable_foundations(view))
        if unreadable:
            return Decision(alarms=unreadable)
        wanted = wanted_fleet(view)
        if wanted is None:
            return Decision()
        registrations = tuple(register(view, wanted, wall))
        if registrations:
            return Decision(registrations)
        commands: list[Write] = [RetirePool(pool) for pool in retired_pools(view, wanted)]
        alarms: list[str] = []
        wake_at: float | None = None
        for pool in wanted.pools:
            step = self._advance(view, pool, now, wall)
            commands += step.commands
            alarms += step.alarms
            wake_at = earliest(wake_at, step.wake_at)
        return Decision(tuple(commands), wake_at, tuple(alarms))

    def _advance(self, view: FleetView, pool: Pool, now: float, wall: float) -> Decision:
        """One pool's next step: finish what is on offer, else offer what has changed, else tidy up."""
        newest = view.newest(pool.name)
        restored = restorable(view, pool.name)
        stands = standstill(view, pool.name, newest)
        if restored or stands:
            return Decision(restored, alarms=(f"pool {pool.name}: {stands}",) if stands else ())
        is_damaged = bool(damaged_after(view, pool.name, newest))
        if newest is not None and not is_damaged and view.current.get(pool.name) != newest.number:
            return self._finish(view, pool, newest, now)
        if newest is None and not pool.members:
            return Decision()
        since_s = self._current_for(pool.name, newest, now)
        result = self._derive(view, pool, newest, since_s)
        if result is None:
            return Decision(alarms=(f"pool {pool.name}: waits until each of its backends has an id",))
        alarms = health_alarms(pool, result)
        if newest is None:
            return self._offer(replace(result.epoch, created_at=wall), (), now, alarms)
        if is_damaged:
            return Decision((RestoreEpoch(follow_readable(view, newest, result.epoch, wall)),), None, alarms)
        try:
            return self._follow(view, pool, newest, result, now, wall, since_s, alarms)
        except MissingEpochError as error:
            if is_forced(view, newest):
                return Decision(
                    (OfferEpoch(follow_readable(view, newest, result.epoch, wall)),), None, alarms
                )
            return Decision(alarms=(*alarms, f"pool {pool.name}: {error}: nothing is changed; {WAY_OUT}"))

    def _follow(
        self,
        view: FleetView,
        pool: Pool,
        newest: Epoch,
        result: NextEpoch,
        now: float,
        wall: float,
        since_s: float,
        alarms: tuple[str, ...],
    ) -> Decision:
        """The step after a current epoch: what admission lets through, and the end of a window."""
        epochs = view.epochs[pool.name]
        window = (*earlier_epochs(epochs, newest), newest)
        admitted = self._admissions.admit(view, newest, result.epoch, window, result.failed_leavers)
        telling = self._tell_held(view, pool, newest, admitted, now, wall, since_s)
        closes = next_closing(view, pool, newest, wall)
        due = closes is not None and wall >= closes
        if same_shape(newest, admitted.epoch) and not due:
            wake_at = telling.wake_at if closes is None else earliest(telling.wake_at, now + closes - wall)
            return Decision((*telling.commands, *stale_epochs(view, pool.name)), wake_at, alarms)
        begin = next_window(view, pool, newest, admitted.epoch, wall)
        epoch = with_window(replace(admitted.epoch, created_at=wall), begin)
        history = tuple(each for each in window if each.number >= begin)
        offer = self._offer(epoch, history, now, alarms)
        return replace(offer, commands=(*telling.commands, *offer.commands))

    def _offer(
        self, epoch: Epoch, history: tuple[Epoch, ...], now: float, alarms: tuple[str, ...]
    ) -> Decision:
        self._offered_at[epoch.pool, epoch.number] = now
        return Decision((OfferEpoch(seal(epoch, history)),), now + ACKNOWLEDGE_S, alarms)

    def _finish(self, view: FleetView, pool: Pool, offered: Epoch, now: float) -> Decision:
        """Make an offer current once everybody connected has loaded it, or has had time enough.

        With a flow table a planned change stays on offer for `udp_idle_s`, while nodes write down the flows of the
        buckets that will change owner.
        """
        since = self._offered_at.setdefault((offered.pool, offered.number), now)
        current = view.current_epoch(pool.name)
        if pool.flow_table and current is not None and is_planned(current, offered):
            recorded_at = since + pool.udp_idle_s
            if now < recorded_at and not self._is_urgent(view, pool, current, offered):
                return Decision(wake_at=recorded_at)
        laggards = missing_acknowledgements(view, offered)
        deadline = since + self._patience_s(view, pool, current, offered, laggards)
        if laggards.names and now < deadline:
            return Decision(wake_at=deadline)
        del self._offered_at[offered.pool, offered.number]
        return Decision((MakeCurrent(offered.pool, offered.number, laggards.names),))

    def _patience_s(
        self, view: FleetView, pool: Pool, current: Epoch | None, offered: Epoch, laggards: Laggards
    ) -> float:
        """How long the offer waits: longer for agents, unless a backend has failed."""
        if current is None or not laggards.agents or not is_planned(current, offered):
            return ACKNOWLEDGE_S
        return ACKNOWLEDGE_S if self._is_urgent(view, pool, current, offered) else AGENTS_LOAD_S

    def _is_urgent(self, view: FleetView, pool: Pool, current: Epoch, offered: Epoch) -> bool:
        """Whether a backend has failed that `current` takes for well: then nothing is waited for."""
        result = self._derive(view, pool, offered, 0.0)
        return result is not None and bool(failed(result.epoch) - failed(current))

    def _current_for(self, pool: PoolName, newest: Epoch | None, now: float) -> float:
        """Seconds for which this leader has seen `newest` current."""
        if newest is None:
            return 0.0
        number, since = self._current_at.get(pool, (None, now))
        if number != newest.number:
            self._current_at[pool] = (newest.number, now)
            return 0.0
        return now - since

    def _derive(self, view: FleetView, pool: Pool, newest: Epoch | None, since_s: float) -> NextEpoch | None:
        """None while some member of the pool has no id yet."""
        assert view.identity is not None
        ids = {name: member.id for name, member in view.backends.items()}
        if any(member.backend not in ids for member in pool.members):
            return None
        inputs = Inputs(
            fleet=view.identity.uuid,
            ids=ids,
            drained=drained(view, pool.name),
            up=self._judge(view, pool),
            agents=frozenset(member.id for member in view.backends.values() if member.agent),
            connected=frozenset(ids[name] for name in view.live_agents if name in ids),
            drained_out=drained_out(view, newest) if newest and since_s >= COUNTED_S else frozenset(),
            awaited=awaited_agents(view),
        )
        return derive(pool, newest, inputs)

    def _tell_held(
        self,
        view: FleetView,
        pool: Pool,
        newest: Epoch,
        admitted: Admitted,
        now: float,
        wall: float,
        since_s: float,
    ) -> Decision:
        """Write what is held, and ask the agents again in a while."""
        held = held_changes(view, newest, admitted.held, wall, pool.affinity_window_s)
        known = view.held.get(pool.name, HeldChanges(pool.name))
        commands: list[Write] = [] if held == known else [PutHeld(held)]
        if not admitted.must_ask:
            return Decision(tuple(commands))
        asked = view.questions.get(pool.name)
        next_at = now + SETTLE_S - since_s
        if asked is not None and asked.epoch == newest.number:
            next_at = self._asked_at.setdefault(pool.name, now) + ASK_AGAIN_S
        if now < next_at:
            return Decision(tuple(commands), next_at)
        self._asked_at[pool.name] = now
        question = FlowQuestion(pool.name, asked.number + 1 if asked else 1, newest.number)
        return Decision((*commands, AskForFlows(question)), now + ASK_AGAIN_S)

    def _judge(self, view: FleetView, pool: Pool) -> dict[BackendName, bool]:
        """The fleet's verdicts: what most connected nodes think; without any opinion, what was thought last."""
        known = self._up.setdefault(pool.name, {})
        for name in judged(view, pool):
            verdict = majority(view.opinions(pool.name, name).values(), known.get(name))
            if verdict is not None:
                known[name] = verdict
        return dict(known)


def missing_acknowledgements(view: FleetView, offered: Epoch) -> Laggards:
    """Return the connected nodes and agents that have not loaded `offered`; one with a problem is not awaited."""
    return Laggards(tuple(sorted(_nodes_behind(view, offered))), tuple(sorted(_agents_behind(view, offered))))


def _nodes_behind(view: FleetView, offered: Epoch) -> Iterator[NodeName]:
    for name, node in view.live_nodes.items():
        loaded = node.pools.get(offered.pool)
        if loaded is not None and loaded.problem:
            continue
        if loaded is None or max(loaded.staged or 0, loaded.current or 0) < offered.number:
            yield name


def _agents_behind(view: FleetView, offered: Epoch) -> Iterator[BackendName]:
    ids = {slot.backend for slot in offered.slots} | {former.backend for former in offered.former}
    for name, agent in view.live_agents.items():
        member = view.backends.get(name)
        if member is not None and member.id in ids and agent.pools.get(offered.pool, 0) < offered.number:
            yield name


def retired_pools(view: FleetView, desired: DesiredFleet) -> list[PoolName]:
    """Return the pools that have epochs but that nobody wants any more."""
    wanted = {pool.name for pool in desired.pools}
    return sorted((set(view.epochs) | set(view.current)) - wanted)


def stale_epochs(view: FleetView, pool: PoolName) -> Iterator[ForgetEpoch]:
    """Yield the epochs older than the window and the few kept for looking back."""
    current = view.current_epoch(pool)
    if current is None:
        return
    oldest = min(current.window_from, current.number) - KEEP_EPOCHS
    for number in sorted(view.epochs.get(pool, {})):
        if number < oldest:
            yield ForgetEpoch(pool, number)


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
