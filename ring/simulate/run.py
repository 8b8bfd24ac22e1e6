"""One run: a scenario against one kind of table, freely or with admission."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ring.simulate.flows import Population
from ring.simulate.lists import Lists, first_lists
from ring.simulate.scenarios import Change, Kind, Scenario, after, equal_lineup
from ring.simulate.tables import Rule, Servers
from ring.slots import Lineup

PATIENCE = 40
"""Steps beyond the script, in lives of a flow, after which what still waits counts as never admitted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. `lost[k]` of `flows` were lost with k alternates kept (as deep as was followed).

    `depth` is the number of alternates with which none would have been lost, `imbalance` the worst ratio of a
    backend's buckets to its fair share. `waits` has the steps that each change was held itself, `longer` by how many
    steps the script took longer, `never` counts the changes that still waited when patience ended.
    """

    flows: int
    lost: tuple[int, ...]
    depth: int
    imbalance: float
    waits: tuple[int, ...]
    longer: int = 0
    never: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A pool at one time: its line-up, the slot that serves each bucket, and the buckets' lists."""

    size: int
    seed: int
    rule: Rule
    lineup: Lineup
    servers: Servers
    lists: Lists

    def with_lineup(self, lineup: Lineup) -> Pool:
        """Return the pool after its next epoch."""
        servers = self.rule(self.size, self.seed, lineup, self.servers)
        lists = self.lists.after(lineup.backends[servers])
        return Pool(self.size, self.seed, self.rule, lineup, servers, lists)

    def imbalance(self) -> float:
        """Return the largest ratio of a slot's buckets to its share by weight."""
        weights = (self.lineup.weights * self.lineup.serving).astype(np.float64)
        counts = np.bincount(self.servers, minlength=len(weights))
        shares = self.size * weights / weights.sum()
        return float((counts[weights > 0] / shares[weights > 0]).max())


def new_pool(size: int, seed: int, rule: Rule, lineup: Lineup) -> Pool:
    """Return a pool without history."""
    servers = rule(size, seed, lineup, None)
    return Pool(size, seed, rule, lineup, servers, first_lists(lineup.backends[servers]))


def run(scenario: Scenario, rule: Rule, size: int, seed: int, admission: int | None = None) -> Outcome:
    """Play `scenario` in a pool of `size` buckets.

    `admission` is the number of alternates that the leader counts on: it holds a planned change while that would
    leave any flow alive without its backend in a list of so many. None: nothing is ever held.
    """
    leader = _Leader(scenario, new_pool(size, seed, rule, equal_lineup(scenario.backends)), seed, admission)
    last = scenario.length + (0 if admission is None else round(PATIENCE * scenario.life))
    step = 0
    while step < scenario.length or (leader.pending and step < last):
        leader.take_step(step)
        step += 1
    return leader.outcome(longer=step - scenario.length)


class _Leader:
    """Brings a script into a pool, change by change, and counts."""

    def __init__(self, scenario: Scenario, pool: Pool, seed: int, admission: int | None) -> None:
        self.pending = list(scenario.changes)
        self._scenario, self._pool, self._admission = scenario, pool, admission
        self._flows = Population(scenario.births, scenario.life, pool.lists, seed)
        self._late = 0
        self._due_at: dict[Change, int] = {}
        self._waits: list[int] = []
        self._candidates: dict[Lineup, Pool] = {}
        self._imbalance = pool.imbalance()

    def take_step(self, now: int) -> None:
        due = [change for change in self.pending if change.at + self._late <= now]
        for change in due:
            self._due_at.setdefault(change, now)
        done = self._all(due) or self._one_by_one(due)
        self.pending = [change for change in self.pending if change not in done]
        self._waits += [now - self._due_at[change] for change in done]
        if self._scenario.ordered and len(done) < len(due):
            self._late += 1
        self._flows.look_up(self._pool.lists)
        self._flows.pass_step(self._pool.lists)

    def outcome(self, longer: int) -> Outcome:
        depths = self._flows.depths()
        beyond = depths[::-1].cumsum()[::-1]
        return Outcome(
            flows=int(depths.sum()),
            lost=tuple(beyond[1:4].tolist()),
            depth=int(np.flatnonzero(depths)[-1]),
            imbalance=self._imbalance,
            waits=tuple(self._waits),
            longer=longer,
            never=len(self.pending),
        )

    def _all(self, due: list[Change]) -> list[Change]:
        """All together: with admission in one epoch, as a leader would; without, one epoch each."""
        if self._admission is None:
            for change in due:
                self._switch(self._pool.with_lineup(after(self._pool.lineup, change)))
            return due
        lineup = self._pool.lineup
        for change in due:
            lineup = after(lineup, change)
        return due if not due or self._try(lineup) else []

    def _one_by_one(self, due: list[Change]) -> list[Change]:
        """In the order of the script; what waits keeps later changes of its slot, or of an ordered script, back."""
        done: list[Change] = []
        blocked: set[int] = set()
        for change in due:
            if change.slot in blocked or (blocked and (self._scenario.ordered or change.kind is Kind.ADD)):
                blocked.add(change.slot)
            elif self._try(after(self._pool.lineup, change)):
                done.append(change)
            else:
                blocked.add(change.slot)
        return done

    def _try(self, lineup: Lineup) -> bool:
        """Go on to `lineup` unless that would leave a flow outside; the last slot never goes out of service."""
        if not lineup.serving.any():
            return False
        if lineup not in self._candidates:
            self._candidates[lineup] = self._pool.with_lineup(lineup)
        candidate = self._candidates[lineup]
        if self._admission is not None and self._flows.outside(candidate.lists, self._admission):
            return False
        self._switch(candidate)
        return True

    def _switch(self, pool: Pool) -> None:
        self._pool = pool
        self._candidates.clear()
        self._imbalance = max(self._imbalance, pool.imbalance())
