"""What the doctor says: of each matter that was looked at, what is wrong, why it matters, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How bad a finding is."""

    FAILURE = "failure"
    """Traffic is lost, or a daemon cannot do its work."""
    WARNING = "warning"
    """It works now, but slower or closer to the edge than it need be."""
    UNCHECKED = "unchecked"
    """The doctor could not look: nothing is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `mend` is a command or the line of a settings file; may be empty."""

    grade: Grade
    subject: str
    what: str
    why: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """One matter that was looked at. `good` says what was seen, for people who want to know."""

    matter: str
    good: str
    findings: tuple[Finding, ...] = ()


def is_healthy(examinations: tuple[Examination, ...]) -> bool:
    """Whether nothing is broken; warnings, and what could not be checked, do not count."""
    return not any(
        finding.grade is Grade.FAILURE for examination in examinations for finding in examination.findings
    )
