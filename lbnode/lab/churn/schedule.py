"""What happens when in a churn drill, drawn from a seed. Pure: the same seed gives the same list.

Happenings overlap: each begins about `pace_s` after the one before, whatever is still under way. Two of them
never share a node or a backend; at most two nodes, and fewer than half of the backends, are out of service
together. One node is left alone: it is cut off from the fleet's memory for the whole drill.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can happen."""

    ADD_NODE = "add node"
    DRAIN_NODE = "drain node"
    KILL_NODE = "kill node daemon"
    CUT_NODE = "cut node"
    OLD_NODE = "start node from an old epoch"
    KILL_LEADER = "kill the leader"
    RESTART_STORE = "restart ZooKeeper"
    ADD_BACKEND = "add backend"
    DRAIN_BACKEND = "drain backend"
    REPLACE_BACKEND = "replace backend"
    WEIGHT = "change weight"
    ROLL = "rolling restart"
    KILL_AGENT = "kill agent"
    FAIL_BACKEND = "fail backend"


BACKEND_CHANGES = frozenset(
    {Kind.ADD_BACKEND, Kind.DRAIN_BACKEND, Kind.REPLACE_BACKEND, Kind.WEIGHT, Kind.ROLL, Kind.FAIL_BACKEND}
)
"""Happenings that move buckets from one backend to another: each must lead to second chances."""
MOVES_NODES = frozenset({Kind.ADD_NODE, Kind.DRAIN_NODE, Kind.CUT_NODE})
"""Happenings that move flows from one node to another."""
LEAST_MOVES_NODES = 0.22
"""They are at least this part of all: else too few flows change node."""
AT_MOST = {
    Kind.ADD_NODE: 2,
    Kind.ADD_BACKEND: 3,
    Kind.REPLACE_BACKEND: 4,
    Kind.ROLL: 2,
    Kind.RESTART_STORE: 3,
    Kind.OLD_NODE: 4,
    Kind.CUT_NODE: 5,
    Kind.KILL_AGENT: 6,
    Kind.KILL_LEADER: 5,
}
HOLD_S = {
    Kind.ADD_NODE: (0.0, 0.0),
    Kind.DRAIN_NODE: (5.0, 15.0),
    Kind.KILL_NODE: (0.5, 5.0),
    Kind.CUT_NODE: (4.0, 10.0),
    Kind.OLD_NODE: (6.0, 15.0),
    Kind.KILL_LEADER: (0.5, 5.0),
    Kind.RESTART_STORE: (0.5, 4.0),
    Kind.ADD_BACKEND: (0.0, 0.0),
    Kind.DRAIN_BACKEND: (6.0, 20.0),
    Kind.REPLACE_BACKEND: (0.0, 0.0),
    Kind.WEIGHT: (0.0, 0.0),
    Kind.ROLL: (0.0, 0.0),
    Kind.KILL_AGENT: (0.5, 6.0),
    Kind.FAIL_BACKEND: (5.0, 12.0),
}
"""How long what happened lasts before it is undone, in seconds: between these two."""
TAKES_S = {
    Kind.ADD_NODE: 8.0,
    Kind.ADD_BACKEND: 10.0,
    Kind.REPLACE_BACKEND: 15.0,
    Kind.ROLL: 140.0,
    Kind.WEIGHT: 5.0,
}
"""How long a happening keeps its host besides what it holds: others get DEFAULT_TAKES_S."""
DEFAULT_TAKES_S = 10.0
OF_NODES = frozenset({Kind.DRAIN_NODE, Kind.KILL_NODE, Kind.CUT_NODE, Kind.OLD_NODE})
OUT_OF_NODES = frozenset({Kind.DRAIN_NODE, Kind.CUT_NODE, Kind.OLD_NODE})
OUT_OF_BACKENDS = frozenset({Kind.DRAIN_BACKEND, Kind.REPLACE_BACKEND, Kind.ROLL, Kind.FAIL_BACKEND})
MOST_NODES_OUT = 2
WEIGHTS = (1, 2, 3, 4)
ROLLED = 2
"""How many backends a rolling restart takes, one after the other."""
STORE, LEADER, FLEET = "the store", "the leader", "the fleet"


@dataclass(frozen=True, slots=True)
class Planned:
    """One happening: `kind` befalls `targets` (names of hosts; of a replacement the old one and the new one) at
    `at_s` after the beginning, and is undone `hold_s` later. `weight` is for a change of weight.
    """

    number: int
    at_s: float
    kind: Kind
    targets: tuple[str, ...]
    hold_s: float
    weight: int = 1

    @property
    def what(self) -> str:
        """For people: `12 drain node n2`."""
        return f"{self.number} {self.kind} {' → '.join(self.targets)}" + (
            f" to {self.weight}" if self.kind is Kind.WEIGHT else ""
        )


def plan(
    seed: int,
    count: int,
    pace_s: float,
    nodes: Sequence[str],
    backends: Sequence[str],
    isolated: str,
    kinds: Iterable[Kind] = tuple(Kind),
) -> tuple[Planned, ...]:
    """Return `count` happenings for a lab of `nodes` and `backends`; none befalls the `isolated` node."""
    planner = _Planner(random.Random(f"{seed} schedule"), nodes, backends, isolated)
    return planner.plan(count, pace_s, list(kinds))


class _Planner:
    """Draws one happening after the other, and keeps in mind which hosts are there and free."""

    def __init__(
        self, chance: random.Random, nodes: Sequence[str], backends: Sequence[str], isolated: str
    ) -> None:
        self._chance = chance
        self._nodes = [node for node in nodes if node != isolated]
        self._backends = list(backends)
        self._next_node = _last_number(nodes, "n") + 1
        self._next_backend = _last_number(backends, "b") + 1
        self._busy_until: dict[str, float] = {}
        self._out_until: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def plan(self, count: int, pace_s: float, kinds: list[Kind]) -> tuple[Planned, ...]:
        bag = self._bag(count, kinds)
        planned: list[Planned] = []
        at_s = 0.0
        while len(planned) < count:
            for kind in bag:
                happening = self._try(len(planned) + 1, at_s, kind)
                if happening is not None:
                    bag.remove(kind)
                    planned.append(happening)
                    break
            at_s += pace_s * self._chance.uniform(0.5, 1.5)
        return tuple(planned)

    def _bag(self, count: int, kinds: list[Kind]) -> list[Kind]:
        """Every kind once (as far as `count` goes), then any within AT_MOST, and in the end what moves flows between
        nodes if there is too little of it. Shuffled, but for rolling restarts: they take minutes and begin early, so
        that not much is left of them when nothing else happens any more.
        """
        bag = self._chance.sample(kinds, min(count, len(kinds)))
        while len(bag) < count:
            lacking = LEAST_MOVES_NODES * count - sum(kind in MOVES_NODES for kind in bag)
            is_needed = Kind.DRAIN_NODE in kinds and lacking > count - len(bag) - 1
            wanted = [Kind.DRAIN_NODE] if is_needed else kinds
            bag.append(
                self._chance.choice([kind for kind in wanted if bag.count(kind) < AT_MOST.get(kind, count)])
            )
        self._chance.shuffle(bag)
        rolls = [kind for kind in bag if kind is Kind.ROLL]
        others = [kind for kind in bag if kind is not Kind.ROLL]
        quarter = len(others) // 4
        return rolls[:1] + others[:quarter] + rolls[1:] + others[quarter:]

    def _try(self, number: int, at_s: float, kind: Kind) -> Planned | None:
        """Return the happening, if there is a host that it can befall now."""
        hold_s = self._chance.uniform(*HOLD_S[kind])
        until = at_s + hold_s + TAKES_S.get(kind, DEFAULT_TAKES_S)
        targets = self._targets(kind, at_s)
        if targets is None:
            return None
        self._busy_until.update(dict.fromkeys(targets, until))
        if kind in OUT_OF_NODES | OUT_OF_BACKENDS:
            self._out_until[targets[0]] = until
        self._note_arrival(kind, targets)
        weight = self._new_weight(targets[0]) if kind is Kind.WEIGHT else 1
        return Planned(number, round(at_s, 2), kind, targets, round(hold_s, 2), weight)

    def _new_weight(self, backend: str) -> int:
        """Another weight than the one it has."""
        before = self._weights.get(backend, 1)
        self._weights[backend] = self._chance.choice([w for w in WEIGHTS if w != before])
        return self._weights[backend]

    def _targets(self, kind: Kind, at_s: float) -> tuple[str, ...] | None:
        match kind:
            case Kind.ADD_NODE:
                return (f"n{self._next_node}",)
            case Kind.ADD_BACKEND:
                return (f"b{self._next_backend}",)
            case Kind.RESTART_STORE:
                return self._free((STORE,), at_s, 1)
            case Kind.KILL_LEADER:
                return self._free((LEADER,), at_s, 1)
            case Kind.REPLACE_BACKEND:
                old = self._of(kind, at_s, 1)
                return None if old is None else (*old, f"b{self._next_backend}")
            case Kind.ROLL:
                return self._of(kind, at_s, ROLLED)
            case _:
                return self._of(kind, at_s, 1)

    def _of(self, kind: Kind, at_s: float, count: int) -> tuple[str, ...] | None:
        """Free hosts of the right role, unless too many are out of service already."""
        hosts = self._nodes if kind in OF_NODES else self._backends
        out = sum(self._out_until.get(host, 0.0) > at_s for host in hosts)
        if kind in OUT_OF_NODES and out >= min(MOST_NODES_OUT, len(hosts) - 1):
            return None
        if kind in OUT_OF_BACKENDS and out >= max(1, len(hosts) // 2 - 1):
            return None
        if kind is Kind.CUT_NODE and self._free((kind,), at_s, 1) is None:
            return None
        return self._free(hosts, at_s, count)

    def _free(self, hosts: Sequence[str], at_s: float, count: int) -> tuple[str, ...] | None:
        free = [host for host in hosts if self._busy_until.get(host, 0.0) <= at_s]
        return tuple(self._chance.sample(free, count)) if len(free) >= count else None

    def _note_arrival(self, kind: Kind, targets: tuple[str, ...]) -> None:
        if kind is Kind.ADD_NODE:
            self._nodes.append(targets[0])
            self._next_node += 1
        elif kind in (Kind.ADD_BACKEND, Kind.REPLACE_BACKEND):
            self._backends.append(targets[-1])
            self._next_backend += 1
        if kind is Kind.REPLACE_BACKEND:
            self._backends.remove(targets[0])
        if kind is Kind.CUT_NODE:
            self._busy_until[kind] = self._busy_until[targets[0]]


def _last_number(names: Sequence[str], prefix: str) -> int:
    return max((int(name.removeprefix(prefix)) for name in names), default=0)
