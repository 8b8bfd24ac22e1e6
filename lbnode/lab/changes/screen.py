"""What a person sees of a drill of changes: a line for each change, tables at the end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from lbnode.lab.changes.report import ChangesReport, spread_ms
from lbnode.lab.changes.sequence import Turn
from lbnode.lab.terminal import Terminal


class ChangesSilence:
    """An audience that does not look: for `--json`."""

    def done(self, turn: Turn, through: str, took_s: float) -> None:
        """Say nothing."""


class ChangesScreen(Terminal):
    """A line for each change."""

    def done(self, turn: Turn, through: str, took_s: float) -> None:
        """Tell that a change has reached every kernel."""
        self._say(f"  [green]✓[/] {turn.what}, through {through}: {took_s * 1000:.0f} ms")


def tables(report: ChangesReport) -> Iterator[Table]:
    """Return where the time went, and who kept the fleet waiting."""
    shown = Table("ms", "median", "p90", "p99", "longest", title="From the order on", title_justify="left")
    rows = {**report.stages_s(), "in all": report.times_s}
    for stage, times in rows.items():
        spread = spread_ms(times)
        if spread is not None:
            shown.add_row(stage, *(f"{value:.0f}" for value in spread.values()))
    yield shown
    if report.laggards:
        late = Table("not waited for", "times", title="Late", title_justify="left")
        for name, count in sorted(report.laggards.items()):
            late.add_row(name, str(count))
        yield late


def closing_line(report: ChangesReport) -> str:
    """The drill in one sentence."""
    spread = spread_ms(report.times_s)
    held = sum(each.held for each in report.changes)
    told = f"{len(report.changes)} changes, {held} held, {len(report.lost)} never reached every kernel"
    if spread is None:
        return told
    figures = f"median {spread['median']:.0f} ms, p99 {spread['p99']:.0f} ms"
    return f"{told}; from order to every kernel of {report.nodes} nodes: {figures}"
