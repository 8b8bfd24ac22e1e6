"""Waiting with an operator: the fleet is asked again and again, and what is so is said; live on a terminal, in
lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from lbnode.cli.ctl_session import BAD_INPUT, fail, make_console
from lbnode.cli.render_flows import duration
from lbnode.model.status import FleetStatus
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import UnreachableError

POLL_S = 0.5
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class GaveUpError(Exception):
    """What was waited for did not come: what is so instead, and what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the fleet said: whether the wait is `over`, and what is so `now`, in a line."""

    now: str
    over: bool = False


@dataclass(slots=True)
class Clock:
    """Time as the commands of this package see it."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Progress:
    """Tells an operator how far a command has come."""

    console: Console
    clock: Clock
    _spinner: Status | None = None
    _said: str = ""

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, soft_wrap=True)

    def wait_until(
        self,
        client: FleetClient,
        what: str,
        look: Callable[[FleetStatus], Look],
        timeout_s: float,
        remedy: str = "",
    ) -> None:
        """Ask the fleet until `look` says that it is over. Raises GaveUpError after `timeout_s`.

        A node that does not answer for a moment (it may be the one that drains) is asked again within the time.
        """
        began = self.clock.now()
        seen = Look("")
        with self._showing():
            while True:
                seen = self._look(client, look) or seen
                if seen.over:
                    break
                waited_s = self.clock.now() - began
                if waited_s >= timeout_s:
                    raise GaveUpError(
                        f"{what}: {seen.now or 'no answer'} after {duration(timeout_s)}", remedy
                    )
                self._show(f"{what}: {seen.now}", waited_s)
                self.clock.wait(min(POLL_S, timeout_s - waited_s))
        if f"{what}: {seen.now}" != self._said:
            self.say(f"{what}: {seen.now}")

    def _look(self, client: FleetClient, look: Callable[[FleetStatus], Look]) -> Look | None:
        try:
            return look(client.status())
        except UnreachableError:
            return None

    @contextmanager
    def _showing(self) -> Iterator[None]:
        self._said = ""
        if not self.console.is_terminal:
            yield
            return
        try:
            with self.console.status("") as self._spinner:
                yield
        finally:
            self._spinner = None

    def _show(self, line: str, waited_s: float) -> None:
        if self._spinner is not None:
            self._spinner.update(Text(f"{line} ({duration(waited_s)})"))
            return
        if line != self._said:
            self.say(line)
        self._said = line


def make_progress() -> Progress:
    """Return the progress of this process' terminal, or of its output."""
    return Progress(make_console(), Clock())


@contextmanager
def ending_in_failure() -> Iterator[None]:
    """End the command with a message when a wait was given up."""
    try:
        yield
    except GaveUpError as error:
        raise fail(error.reason, error.remedy) from error


def parse_time(text: str) -> float:
    """Return the seconds in `90`, `90s`, `10m`, `2h` or `1d`; ends the command as bad input when there are none."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise fail(f"{text!r} is no time", "write it like 90s, 10m or 2h", BAD_INPUT)
    return seconds


Timeout = typer.Option("--timeout", "-t", metavar="TIME", help="How long to wait at most: 90s, 10m, 2h.")
