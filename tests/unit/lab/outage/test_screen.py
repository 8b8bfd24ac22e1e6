from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from lbnode.lab.outage.report import ActReport
from lbnode.lab.outage.screen import OutageScreen, closing_lines, tables
from tests.unit.lab.outage.test_report import HELD, RESET


def test_a_person_sees_what_was_done_and_what_came_of_it() -> None:
    console = Console(file=StringIO(), width=200)
    with OutageScreen(console) as screen:
        screen.tell("VIP for the drill [1]")
        screen.played(ActReport("restart n1", 4.6, 1.25))
        screen.played(ActReport("return", 30.0, 60.0, "n2 goes by its local view"))
    for table in tables(replace(HELD, broken=(RESET,))):
        console.print(table)

    file = console.file
    assert isinstance(file, StringIO)
    shown = file.getvalue()
    assert "· VIP for the drill [1]" in shown
    assert "✓ 5 s: restart n1, seen after 1.2 s\n" in shown
    assert "✗ 30 s: return, seen after 60.0 s: n2 goes by its local view" in shown
    assert "130 → 131 MiB" in shown
    assert "Broken flows" in shown


def test_the_sentences_say_what_was_untrue_and_what_was_not_proved() -> None:
    said = "\n".join(closing_lines(replace(HELD, lasted=0, untrue={"n1 says that all nodes agree": 3})))

    assert "0 broken; 9 victims" in said
    assert "1 outlived their window" in said
    assert "3 times: n1 says that all nodes agree" in said
    assert "no flow lived through the whole cut" in said
