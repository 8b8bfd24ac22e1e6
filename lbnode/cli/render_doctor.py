"""What the doctor found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from lbnode.doctor.findings import Examination, Finding, Grade, is_healthy

STYLES = {Grade.FAILURE: "bold red", Grade.WARNING: "yellow", Grade.UNCHECKED: "cyan"}
WORDS = {Grade.FAILURE: "broken", Grade.WARNING: "warning", Grade.UNCHECKED: "not checked"}


def print_examinations(
    console: Console, subject: str, found: tuple[Examination, ...], *, as_json: bool = False
) -> None:
    """Print what was found on `subject`; good things in a line each, findings with reason and remedy."""
    if as_json:
        console.print(json.dumps(examinations_document(subject, found)), soft_wrap=True)
        return
    for examination in found:
        for line in _lines(examination):
            console.print(line, soft_wrap=True)
    console.print(Text(_summary(subject, found), style="bold"), soft_wrap=True)


def examinations_document(subject: str, found: tuple[Examination, ...]) -> dict[str, Any]:
    """Return what was found as JSON data."""
    return {
        "subject": subject,
        "healthy": is_healthy(found),
        "examinations": [
            {
                "matter": examination.matter,
                "good": examination.good,
                "findings": [_finding_document(finding) for finding in examination.findings],
            }
            for examination in found
        ],
    }


def _finding_document(finding: Finding) -> dict[str, str]:
    return {
        "grade": finding.grade.value,
        "subject": finding.subject,
        "what": finding.what,
        "why": finding.why,
        "mend": finding.mend,
    }


def _lines(examination: Examination) -> Iterator[Text]:
    if not examination.findings:
        yield Text.assemble(("good", "green"), f"         {examination.matter}: {examination.good}")
    for finding in examination.findings:
        word = WORDS[finding.grade]
        head = f"{' ' * (13 - len(word))}{examination.matter}: {finding.subject}: {finding.what}"
        yield Text.assemble((word, STYLES[finding.grade]), head)
        yield Text(f"{' ' * 15}why:  {finding.why}", style="dim")
        if finding.mend:
            yield Text(f"{' ' * 15}mend: {finding.mend}")


def _summary(subject: str, found: tuple[Examination, ...]) -> str:
    counts = [(grade, _count(found, grade)) for grade in Grade]
    said = ", ".join(f"{count} {WORDS[grade]}" for grade, count in counts if count)
    return f"{subject}: {said or 'everything is as it should be'}"


def _count(found: Iterable[Examination], grade: Grade) -> int:
    return sum(finding.grade is grade for examination in found for finding in examination.findings)
