"""What is wrong with a fleet.yaml: all of it, each with its line, its place, and the remedy."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

from lbnode.model.requests import Refusal, RefusalKind

Path = tuple[str | int, ...]
"""Where in the file: keys of mappings and indexes of lists, from the top."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60
_REPR.maxdict = _REPR.maxlist = 3
_REPR.maxlevel = 2


@dataclass(frozen=True, slots=True)
class FleetProblem:
    """One thing that is wrong: `what` reads "70000 is out of range; use 1..65535". `line` counts from 1."""

    path: Path
    what: str
    line: int | None = None


class FleetFileError(ValueError):
    """A fleet.yaml that cannot be used; a line of the message for each of its `problems`."""

    def __init__(self, source: str, problems: Sequence[FleetProblem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(_format(source, problem) for problem in problems))

    def refusal(self) -> Refusal:
        """Return the error as the answer to an operator who sent the file."""
        return Refusal(
            RefusalKind.INVALID, str(self), "correct the file; lbctl config check -f FILE checks it"
        )


def format_path(path: Path) -> str:
    """Return a path as people write it: `pools[0].backends[1].weight`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def show(value: object) -> str:
    """Return a value from the file, short enough for a message."""
    return _REPR.repr(value)


def _format(source: str, problem: FleetProblem) -> str:
    where = source if problem.line is None else f"{source}:{problem.line}"
    place = format_path(problem.path)
    return f"{where}: {place}: {problem.what}" if place else f"{where}: {problem.what}"
