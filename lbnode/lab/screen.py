"""What a person sees of a lab: progress of the building, a drill as it goes, a table of what happened."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.table import Table

from lbnode.lab.events import Event
from lbnode.lab.flows import Look
from lbnode.lab.report import DrillReport, EventReport, Verdict

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


class Screen:
    """A terminal, or a pipe: one line for each thing that is over, and where it moves, a line of what is
    going on.

    A context manager: the moving line ends with it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)
        self._doing = "opening connections"

    def __enter__(self) -> Screen:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def tell(self, line: str) -> None:
        """Say what is being done."""
        self._console.print(f"  [dim]·[/] {line}")
        self._status.update(line)

    def opened(self, look: Look) -> None:
        """Tell how many connections there are, and to whom."""
        servers = ", ".join(f"{count} to {name}" for name, count in sorted(look.servers.items()))
        self._console.print(f"  [bold]{look.flows} TCP connections[/] are open and talking: {servers}")

    def began(self, event: Event) -> None:
        """Tell what is about to happen, and what it means."""
        self._doing = event.what
        self._console.print(f"\n  [bold]{event.what}[/]: {event.story}")
        self._status.update(self._doing)

    def saw(self, look: Look) -> None:
        """Update the moving line."""
        broken = look.flows - look.whole
        self._status.update(
            f"{self._doing}: {look.whole} whole, "
            + (f"[red]{broken} broken[/]" if broken else "0 broken")
            + f", longest wait now {look.longest_wait_s:.1f} s"
        )

    def ended(self, report: EventReport) -> None:
        """Tell what the flows saw."""
        self._console.print(f"    {_mark(report)} {_summary(report)}")
        self._status.update("")


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
