"""A study as tables of text (Markdown): mean over the seeds, and from the least to the most of them."""

from __future__ import annotations

from collections.abc import Sequence

from ring.simulate.run import Outcome
from ring.simulate.study import ALTERNATES, Row, of
from ring.simulate.tables import RULES


def render(rows: Sequence[Row]) -> str:
    """Return all tables of a study."""
    scenarios = dict.fromkeys(row.scenario for row in rows)
    parts = [text for name in scenarios for text in (_lost(rows, name), _price(rows, name)) if text]
    return "\n\n".join(parts)


def _lost(rows: Sequence[Row], scenario: str) -> str:
    head = ["table", *(f"lost, K={k}" for k in ALTERNATES), "K for none", "worst max/avg load"]
    body = [
        [
            table,
            *(_share(runs, k) for k in ALTERNATES),
            _depth(runs),
            _spread([r.imbalance for r in runs], ".3f"),
        ]
        for table in RULES
        if (runs := of(rows, scenario, table, None))
    ]
    return _table(f"{_title(rows, scenario, None)}: nothing held", head, body)


def _price(rows: Sequence[Row], scenario: str) -> str:
    head = ["table", "K", "lost", "mean wait", "longest wait", "longer by", "never admitted"]
    body = [
        [table, str(k), str(sum(run.lost[k] for run in runs)), *_waiting(runs)]
        for table in RULES
        for k in ALTERNATES
        if (runs := of(rows, scenario, table, k))
    ]
    return _table(f"{_title(rows, scenario, 2)}: with admission, in steps", head, body)


def _waiting(runs: Sequence[Outcome]) -> list[str]:
    """A change that was never admitted has no wait: the others' would read as if all were well."""
    never = sum(run.never for run in runs)
    waits = [wait for run in runs for wait in run.waits]
    if never or not waits:
        return ["", "", "", f"{never} of {never + len(waits)}"]
    mean = sum(waits) / len(waits)
    return [f"{mean:.2f}", str(max(waits)), _spread([run.longer for run in runs], ".0f"), "0"]


def _title(rows: Sequence[Row], scenario: str, admission: int | None) -> str:
    runs = [row for row in rows if (row.scenario, row.admission) == (scenario, admission)]
    if not runs:
        return scenario
    flows = round(sum(row.outcome.flows for row in runs) / len(runs), -2)
    return f"{scenario} ({runs[0].steps} steps, a flow lives {runs[0].life:g}, about {flows:,.0f} flows)"


def _share(runs: Sequence[Outcome], k: int) -> str:
    return _spread([100 * run.lost[k] / run.flows for run in runs], ".3g", " %")


def _depth(runs: Sequence[Outcome]) -> str:
    """The deepest list of all seeds; lists are followed a dozen deep."""
    deepest = max(run.depth for run in runs)
    return str(deepest) if deepest <= 12 else "> 12"


def _spread(values: Sequence[float], form: str, unit: str = "") -> str:
    mean, least, most = (format(v, form) for v in (sum(values) / len(values), min(values), max(values)))
    return f"{mean}{unit}" if least == most else f"{mean}{unit} ({least}–{most})"


def _table(title: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    if not body:
        return ""
    rows = [head, ["---"] * len(head), *body]
    return "\n".join([f"**{title}**", "", *("| " + " | ".join(row) + " |" for row in rows)])
