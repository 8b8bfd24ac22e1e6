"""How every drill is run: on the lab that is up or on one of its own, before a person or for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from lbnode.lab import record, teardown
from lbnode.lab.demo import FAILED, temporary_lab
from lbnode.lab.errors import LabError
from lbnode.lab.interruption import raised_as_interrupts
from lbnode.lab.plan import Plan
from lbnode.lab.report import Verdict
from lbnode.lab.running import RunningLab
from lbnode.lab.terminal import Terminal

INTERRUPTED = 130


class Report(Protocol):
    """What a drill found."""

    @property
    def verdict(self) -> Verdict:
        """What it proved: the exit status."""

    def as_json(self) -> str:
        """Everything, as one line of JSON."""


Found = TypeVar("Found", bound=Report)
Watching = TypeVar("Watching", bound=Terminal)
Silent = TypeVar("Silent")


@dataclass(frozen=True, slots=True)
class Show(Generic[Watching, Silent, Found]):
    """How a kind of drill is shown: while it runs on a `screen`, or not at all (`silence`), and afterwards."""

    screen: Callable[[Console], Watching]
    silence: Callable[[], Silent]
    tables: Callable[[Found], Iterable[Table]]
    lines: Callable[[Found], Iterable[str]]


def run(
    plan: Plan,
    show: Show[Watching, Silent, Found],
    drill: Callable[[RunningLab, Watching | Silent], Found],
    *,
    as_json: bool,
) -> None:
    """Drill the lab of `plan`, tell what was found, and end the command with the verdict."""
    with reported():
        if as_json:
            silence = show.silence()
            report = _on_lab(plan, _say_nothing, lambda lab: drill(lab, silence))
            print(report.as_json())
        else:
            console = Console()
            with show.screen(console) as screen:
                report = _on_lab(plan, screen.tell, lambda lab: drill(lab, screen))
            for table in show.tables(report):
                console.print(table)
            for line in show.lines(report):
                console.print(line, highlight=False)
    raise typer.Exit(report.verdict)


def is_up(name: str) -> bool:
    """True when a lab of that name is there and whole."""
    return name in teardown.known() and record.load(name).ready


@contextmanager
def reported() -> Iterator[None]:
    """Errors of the lab and interrupts as words on stderr and an exit status."""
    try:
        with raised_as_interrupts():
            yield
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        print("interrupted: what this command had made is gone", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _on_lab(plan: Plan, tell: Callable[[str], None], drill: Callable[[RunningLab], Found]) -> Found:
    """Drill the lab of that name; one that is not up is built first and taken apart afterwards."""
    if is_up(plan.lab):
        return drill(RunningLab(record.load(plan.lab)))
    with temporary_lab(plan, tell) as lab:
        return drill(lab)


def _say_nothing(_line: str) -> None:
    pass
