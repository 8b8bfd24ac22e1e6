"""A study: every scenario with every kind of table, freely and with admission, for several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ring.simulate.run import Outcome, run
from ring.simulate.scenarios import SCENARIOS
from ring.simulate.tables import RULES

ALTERNATES = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: `births` flows a step without admission, `held_births` with it, in tables of `size` buckets.

    The two differ because with more flows the last of them takes longer to end, and every change waits for it:
    admission is measured at the size of the mixed changes in design.md §3 (24,000 flows).
    """

    size: int
    births: int
    held_births: int
    seeds: tuple[int, ...]
    scenarios: tuple[str, ...] = tuple(SCENARIOS)


FULL = Plan(size=65537, births=10_000, held_births=400, seeds=(1, 2, 3, 4, 5))
QUICK = Plan(size=1021, births=100, held_births=20, seeds=(1, 2))


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `admission` is the number of alternates that the leader counted on, None without admission."""

    scenario: str
    table: str
    admission: int | None
    seed: int
    life: float
    steps: int
    outcome: Outcome


def study(plan: Plan) -> Iterator[Row]:
    """Yield the plan's runs, one by one, scenarios first."""
    for scenario in plan.scenarios:
        for table in RULES:
            for admission in (None, *ALTERNATES):
                for seed in plan.seeds:
                    yield row(plan, scenario, table, admission, seed)


def row(plan: Plan, scenario: str, table: str, admission: int | None, seed: int) -> Row:
    """Return one run of the plan."""
    births = plan.births if admission is None else plan.held_births
    script = SCENARIOS[scenario](seed, births)
    outcome = run(script, RULES[table], plan.size, seed, admission)
    return Row(scenario, table, admission, seed, script.life, script.length, outcome)


def of(rows: Sequence[Row], scenario: str, table: str, admission: int | None) -> list[Outcome]:
    """Return the outcomes of one combination, one a seed."""
    sought = (scenario, table, admission)
    return [row.outcome for row in rows if (row.scenario, row.table, row.admission) == sought]
