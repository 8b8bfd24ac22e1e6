"""What a person sees of the drill of the store: a line for each act, a moving line, a table and a few sentences."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from lbnode.lab.churn.crowd import Look
from lbnode.lab.outage.report import ActReport, OutageReport, Usage
from lbnode.lab.report import Verdict
from lbnode.lab.terminal import Terminal

VERDICTS = {
    Verdict.HELD: "[green]no flow broke but those of the dead backend, nobody said what was not so, and all agree[/]",
    Verdict.BROKEN: "[red]not all went as it must[/]",
    Verdict.NOTHING: "[yellow]nothing went wrong, but this drill proved nothing[/]",
}


class OutageSilence:
    """An audience that does not look: for `--json`."""

    def tell(self, line: str) -> None:
        """Say nothing."""

    def played(self, act: ActReport) -> None:
        """Say nothing."""

    def saw(self, look: Look, at_s: float) -> None:
        """Say nothing."""


class OutageScreen(Terminal):
    """A line for each thing that begins or is over, and a moving one."""

    def played(self, act: ActReport) -> None:
        """Tell what was done, and whether it had its effect."""
        mark = "[red]✗[/]" if act.failed else "[green]✓[/]"
        why = f": {escape(act.failed)}" if act.failed else ""
        self._say(f"  {mark} {act.at_s:.0f} s: {act.what}, seen after {act.took_s:.1f} s{why}")

    def saw(self, look: Look, at_s: float) -> None:
        """Update the moving line."""
        broken = sum(look.broken.values())
        self._move(
            f"{at_s:.0f} s: {look.alive} alive, {look.whole} ended whole, "
            + (f"[red]{broken} not[/]" if broken else "0 not")
            + f", longest wait now {look.longest_wait_s:.1f} s"
        )


def tables(report: OutageReport) -> Iterator[Table]:
    """Return what the daemons held at both ends of the cut, and the flows that broke."""
    held = Table("daemon", "memory", "open files", title="What the daemons held", title_justify="left")
    for name, (before, after) in sorted(report.usage.items()):
        held.add_row(name, _grown(before, after), f"{before.files} → {after.files}")
    yield held
    if report.broken:
        flows = Table("flow", "server", "why", title="Broken flows", title_justify="left")
        for each in report.broken:
            flows.add_row(str(each.flow.number), each.flow.server, each.why)
        yield flows


def closing_lines(report: OutageReport) -> Iterator[str]:
    """The drill in a few sentences."""
    yield (
        f"cut off for {report.cut_s:g} s: {report.scope}; {report.flows} connections, {report.lasted} of them longer "
        f"than that, {report.exchanges} exchanges, longest wait {report.longest_wait_s:.1f} s"
    )
    yield (
        f"{len(report.broken)} broken; {report.victims} victims of the dead backend, {report.refused} turned away by "
        f"it; without a promise: {len(report.outlived)} outlived their window, {len(report.unlisted)} were opened "
        "where only a local view had them"
    )
    yield f"all agreed {report.agreed_after_s:.1f} s after the return; asked {report.looks} times meanwhile"
    for said, count in sorted(report.untrue.items()):
        yield f"  [red]·[/] {count} times: {escape(said)}"
    yield VERDICTS[report.verdict]
    for reason in report.unproved:
        yield f"  [yellow]·[/] {escape(reason)}"


def _grown(before: Usage, after: Usage) -> str:
    return f"{before.memory_mib:.0f} → {after.memory_mib:.0f} MiB"
