"""The command line of the simulation: the one module of `ring` that prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from ring.simulate.report import render
from ring.simulate.scenarios import SCENARIOS
from ring.simulate.study import FULL, QUICK, Plan, Row, study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a study and print it; progress goes to standard error."""
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    rows: list[Row] = []
    for row in study(plan):
        rows.append(row)
        held = "nothing held" if row.admission is None else f"admission, K={row.admission}"
        print(f"\r{row.scenario}, {row.table}, {held}, seed {row.seed}".ljust(79), end="", file=sys.stderr)
    print("\r".ljust(80), end="\r", file=sys.stderr)
    print(as_json(plan, rows) if options.json else render(rows))
    return 0


def as_json(plan: Plan, rows: Sequence[Row]) -> str:
    """Return the study as one JSON object: `plan`, `rows`, and the `report` that is printed without --json."""
    return json.dumps({"plan": asdict(plan), "rows": [_record(row) for row in rows], "report": render(rows)})


def _record(row: Row) -> dict[str, object]:
    """A row, its waits summed up: a study has a hundred thousand of them."""
    outcome = asdict(row.outcome)
    waits = outcome.pop("waits")
    outcome |= {"admitted": len(waits), "waited": sum(waits), "longest_wait": max(waits, default=0)}
    return {**asdict(row), "outcome": outcome}


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    given = {
        "seeds": options.seeds and tuple(range(1, options.seeds + 1)),
        "size": options.size,
        "births": options.births,
        "scenarios": options.scenario and tuple(options.scenario),
    }
    return replace(plan, **{field: value for field, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ring.simulate", description=main.__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small tables and few flows: seconds, rough figures"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--seeds", type=int, help="how many seeds (1, 2, …)")
    parser.add_argument("--size", type=int, help="buckets of a table, a prime")
    parser.add_argument("--births", type=int, help="flows born in a step where nothing is held")
    parser.add_argument(
        "--scenario", action="append", choices=tuple(SCENARIOS), help="only this one; repeatable"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
