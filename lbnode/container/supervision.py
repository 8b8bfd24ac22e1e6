"""What process 1 does when a signal comes or a process ends. Pure: events in, commands out.

    starting ──► running ──SIGTERM──► leaving (the daemon) ──► closing (the service) ──► over
                   │  ▲
                   └──┘ the daemon crashed: started again, so often and no oftener

The daemon leaves first and the service ends last, because until a backend is drained its service has flows. A crashed
daemon is started anew inside the living container: programs, tables and flows are still there, and a new container
would have none of them. What cannot start ends the container with its own words and status; so does a crash that
comes back. A service that ends takes its flows with it, so there is nothing left to save: the container ends.

Does not decide what becomes of a container that has ended: that is the engine's restart policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from signal import SIGKILL, SIGQUIT, SIGTERM, Signals

STARTED_S = 10.0
"""A daemon that ends sooner could not start; trying again would end the same way."""

CRASHES = 5
CRASHES_IN_S = 600.0
"""So many crashes in so many seconds are mended by starting again; one more ends the container."""

CLOSE_S = 10.0
"""How long a service may take over its last answers."""

BAD_SETTINGS = 2
"""The daemons' exit status for settings that cannot be used."""


class Part(Enum):
    """The two processes of a container."""

    DAEMON = "daemon"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process again."""

    part: Part


@dataclass(frozen=True, slots=True)
class Send:
    """Send a signal to a process that runs."""

    part: Part
    signal: Signals


@dataclass(frozen=True, slots=True)
class Say:
    """Tell whoever reads the container's log."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """End the container with this exit status."""

    status: int


Command = Start | Send | Say | End


@dataclass(slots=True)
class Supervision:
    """One container's life. `parts` are its processes, running; times are of the monotonic clock."""

    parts: frozenset[Part]
    started_at: float
    _running: set[Part] = field(init=False)
    _crashes: list[float] = field(default_factory=list)
    _status: int | None = None
    """The container's exit status, once something has settled it."""
    _leaving: bool = False
    _closing_at: float | None = None

    def __post_init__(self) -> None:
        self._running = set(self.parts)

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return None if self._closing_at is None else self._closing_at + CLOSE_S

    def asked_to_stop(self, now: float) -> list[Command]:
        """SIGTERM or SIGINT came. A second one reaches the daemon too: it hurries then."""
        self._leaving = True
        if Part.DAEMON in self._running:
            return [Send(Part.DAEMON, SIGTERM)]
        return self._close(now)

    def ended(self, part: Part, status: int, now: float) -> list[Command]:
        """A process ended with `status`, 128 and the signal's number if a signal ended it."""
        self._running.discard(part)
        if part is Part.SERVICE:
            return self._service_ended(status)
        if self._leaving or status == 0:
            self._leave(status)
            return self._close(now)
        ran_s = now - self.started_at
        if ran_s < STARTED_S or status == BAD_SETTINGS or not self._may_restart(now):
            self._leave(status)
            return [Say(f"the daemon ended with status {status} after {ran_s:.0f} s"), *self._close(now)]
        self.started_at = now
        self._running.add(Part.DAEMON)
        return [Say(f"the daemon crashed (status {status}); starting it again"), Start(Part.DAEMON)]

    def tick(self, now: float) -> list[Command]:
        """Time has passed."""
        if self.wake_at is None or now < self.wake_at:
            return []
        self._closing_at = None
        return [Say(f"the service did not end within {CLOSE_S:g} s"), Send(Part.SERVICE, SIGKILL)]

    def _leave(self, status: int) -> None:
        """The container ends, with the first status that somebody had a reason for."""
        self._leaving = True
        self._status = status if self._status is None else self._status

    def _may_restart(self, now: float) -> bool:
        self._crashes = [at for at in self._crashes if now - at < CRASHES_IN_S] + [now]
        return len(self._crashes) <= CRASHES

    def _close(self, now: float) -> list[Command]:
        if Part.SERVICE not in self._running:
            return [End(self._status or 0)]
        if self._closing_at is not None:
            return []
        self._closing_at = now
        return [Send(Part.SERVICE, SIGQUIT)]

    def _service_ended(self, status: int) -> list[Command]:
        if Part.DAEMON not in self._running:
            return [End(self._status or 0)]
        self._leave(status or 1)
        words = f"the service ended with status {status}: the container has nothing to serve any more"
        return [Say(words), Send(Part.DAEMON, SIGKILL)]
