"""The fleet as one of its nodes sees it: for an operator's machine, which has nothing of its own to examine."""

from __future__ import annotations

from lbnode.doctor.findings import Examination, Finding, Grade
from lbnode.model.status import FleetStatus, Problem, Severity

WHY = {
    Severity.ALARM: "an alarm costs traffic or safety now",
    Severity.WARNING: "it works, and may cost traffic when something else fails too",
}
GRADES = {Severity.ALARM: Grade.FAILURE, Severity.WARNING: Grade.WARNING}


def check_fleet(status: FleetStatus) -> Examination:
    """Whether anything is wrong with the fleet."""
    nodes = sum(node.connected for node in status.nodes)
    agree = "they agree on every table" if status.agree else "they do not agree on the tables"
    good = (
        f"{status.fleet}: {nodes} nodes and {len(status.pools)} pools, {agree} (asked: {status.answered_by})"
    )
    return Examination("fleet", good, tuple(_finding(problem) for problem in status.problems))


def _finding(problem: Problem) -> Finding:
    grade = GRADES[problem.severity]
    return Finding(grade, problem.subject, problem.what, WHY[problem.severity], problem.remedy)
