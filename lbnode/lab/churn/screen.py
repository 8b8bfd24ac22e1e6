"""What a person sees of a churn drill: a line for each thing that happens, a moving line, tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from lbnode.lab.churn.crowd import Look
from lbnode.lab.churn.report import ChurnReport
from lbnode.lab.churn.schedule import Planned
from lbnode.lab.report import Verdict
from lbnode.lab.terminal import Terminal

VERDICTS = {
    Verdict.HELD: "[green]no flow broke but the named victims[/]",
    Verdict.BROKEN: "[red]flows broke[/]",
    Verdict.NOTHING: "[yellow]no flow broke, but this drill proved nothing[/]",
}
SHOWN_BROKEN = 20


class ChurnSilence:
    """An audience that does not look: for `--json`."""

    def tell(self, line: str) -> None:
        """Say nothing."""

    def began(self, planned: Planned) -> None:
        """Say nothing."""

    def ended(self, planned: Planned, took_s: float, failed: str) -> None:
        """Say nothing."""

    def saw(self, look: Look, going_on: Sequence[str]) -> None:
        """Say nothing."""


class ChurnScreen(Terminal):
    """A line for each thing that begins or is over, and a moving one."""

    def began(self, planned: Planned) -> None:
        """Tell what begins to happen."""
        self._say(f"  [bold]▶[/] {planned.what}")

    def ended(self, planned: Planned, took_s: float, failed: str) -> None:
        """Tell what is over, and what went wrong."""
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        why = f": {escape(failed)}" if failed else ""
        self._say(f"  {mark} {planned.what}, {took_s:.1f} s{why}")

    def saw(self, look: Look, going_on: Sequence[str]) -> None:
        """Update the moving line."""
        broken = sum(look.broken.values())
        self._move(
            f"{look.alive} alive, {look.whole} ended whole, "
            + (f"[red]{broken} not[/]" if broken else "0 not")
            + f", longest wait now {look.longest_wait_s:.1f} s · {', '.join(going_on)}"
        )


def tables(report: ChurnReport) -> Iterator[Table]:
    """Return the events, and the flows that broke, as tables."""
    events = Table(title="What happened", title_justify="left")
    events.add_column("event")
    for heading in ("began", "took", "second chances", "broken"):
        events.add_column(heading, justify="right")
    broken = [report.during(each.flow.ended_at) for each in report.broken]
    for event in report.events:
        count = sum(event.planned.what in during for during in broken)
        events.add_row(
            event.planned.what + (f" [red]✗ {escape(event.failed)}[/]" if event.failed else ""),
            f"{event.began_s:.1f} s",
            f"{event.took_s:.1f} s",
            str(event.second_chances),
            f"[red]{count}[/]" if count else "0",
        )
    yield events
    if report.broken:
        yield _broken(report)


def _broken(report: ChurnReport) -> Table:
    flows = Table("flow", "kind", "server", "why", "at", "during", title="Broken flows", title_justify="left")
    for each in report.broken[:SHOWN_BROKEN]:
        at_s = each.flow.ended_at - report.began_at
        during = ", ".join(report.during(each.flow.ended_at))
        flows.add_row(
            str(each.flow.number), each.flow.kind, each.flow.server, each.why, f"{at_s:.1f} s", during
        )
    if len(report.broken) > SHOWN_BROKEN:
        flows.add_row("…", "", "", f"and {len(report.broken) - SHOWN_BROKEN} more", "", "")
    return flows


def closing_lines(report: ChurnReport) -> Iterator[str]:
    """The drill in a few sentences."""
    moved, spread = report.moved, report.spread_ms()
    yield (
        f"{report.flows} connections, {report.alive} at a time, {report.exchanges} exchanges, "
        f"{len(report.events)} events, seed {report.seed}: {len(report.broken)} broken, "
        f"{report.victims} victims of failed backends, {report.refused} turned away by them"
    )
    yield (
        f"while alive, {moved.node:.0%} changed node, {moved.owner:.0%} changed owner, {moved.both:.0%} both; "
        f"{sum(report.second_chances.values())} packets got a second chance ({report.extra_hops} extra hops)"
    )
    if spread is not None:
        yield f"from order to every kernel: median {spread[0]:.0f} ms, p99 {spread[1]:.0f} ms, without what was held"
    if report.holds:
        longest = max(report.holds, key=lambda hold: hold.seconds)
        yield f"{len(report.holds)} changes held, the longest {longest.seconds:.1f} s: {longest.what}"
    yield f"longest wait of a connection: {report.longest_wait_s:.1f} s"
    yield VERDICTS[report.verdict]
    for reason in report.unproved:
        yield f"  [yellow]·[/] {escape(reason)}"
