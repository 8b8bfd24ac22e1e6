"""What all screens of the lab are made of: lines that stay, and one line that moves beneath them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Terminal:
    """A terminal, or a pipe. A context manager: the moving line ends with it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def tell(self, line: str) -> None:
        """Say what is being done."""
        self._console.print(f"  [dim]·[/] {escape(line)}", highlight=False)
        self._move(escape(line))

    def _say(self, line: str) -> None:
        """Print a line, with markup, that stays."""
        self._console.print(line, highlight=False)

    def _move(self, line: str) -> None:
        """Let the moving line, with markup, be this one."""
        self._status.update(line)
