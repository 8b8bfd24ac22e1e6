"""What a person sees of a lab: progress of the building, a drill as it goes, a table of what happened."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lbnode.lab.events import Event
from lbnode.lab.flows import Look
from lbnode.lab.report import DrillReport, EventReport, Verdict
from lbnode.lab.terminal import Terminal

VERDICTS = {
    Verdict.HELD: "[green]no flow broke[/]",
    Verdict.BROKEN: "[red]flows broke[/]",
    Verdict.NOTHING: "[yellow]no flow changed node: this drill proved nothing[/]",
}


class Silence:
    """An audience that does not look: for `--json`."""

    def opened(self, look: Look) -> None:
        """Say nothing."""

    def began(self, event: Event) -> None:
        """Say nothing."""

    def saw(self, look: Look) -> None:
        """Say nothing."""

    def ended(self, report: EventReport) -> None:
        """Say nothing."""


class Screen(Terminal):
    """One line for each thing that is over, and a moving one of what is going on."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._doing = "opening connections"

    def opened(self, look: Look) -> None:
        """Tell how many connections there are, and to whom."""
        servers = ", ".join(f"{count} to {name}" for name, count in sorted(look.servers.items()))
        self._say(f"  [bold]{look.flows} TCP connections[/] are open and talking: {servers}")

    def began(self, event: Event) -> None:
        """Tell what is about to happen, and what it means."""
        self._doing = event.what
        self._say(f"\n  [bold]{event.what}[/]: {event.story}")
        self._move(self._doing)

    def saw(self, look: Look) -> None:
        """Update the moving line."""
        broken = look.flows - look.whole
        self._move(
            f"{self._doing}: {look.whole} whole, "
            + (f"[red]{broken} broken[/]" if broken else "0 broken")
            + f", longest wait now {look.longest_wait_s:.1f} s"
        )

    def ended(self, report: EventReport) -> None:
        """Tell what the flows saw."""
        self._say(f"    {_mark(report)} {_summary(report)}")
        self._move("")


def table(report: DrillReport) -> Table:
    """What happened, one line an event."""
    shown = Table(title="What the connections saw", title_justify="left")
    shown.add_column("event")
    for heading in ("changed node", "broken", "longest stall", "took"):
        shown.add_column(heading, justify="right")
    for event in report.events:
        shown.add_row(
            event.what,
            str(event.changed_node),
            f"[red]{event.broken}[/]" if event.broken else "0",
            f"{event.longest_stall_s:.2f} s",
            f"{event.seconds:.1f} s",
        )
    return shown


def closing_line(report: DrillReport) -> str:
    """The drill in one sentence."""
    return f"{report.flows} connections, {report.exchanges} exchanges: {VERDICTS[report.verdict]}"


def _mark(report: EventReport) -> str:
    return "[red]✗[/]" if report.broken else "[green]✓[/]"


def _summary(report: EventReport) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.reasons.items())
    return (
        f"{report.changed_node} connections changed node, {report.broken} broke"
        + (f" ({reasons})" if reasons else "")
        + f", longest stall {report.longest_stall_s:.2f} s, {report.seconds:.1f} s in all"
    )
