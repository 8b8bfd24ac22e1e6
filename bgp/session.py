"""The relay's protocol as a state machine without I/O: events and the time in, commands out.

It decides what ExaBGP must be told so that the routers know the set that the daemon last asked for, and what
becomes of that set when the daemon has gone. It does not decide what shall be announced (the daemon does),
and it does not repeat routes to a router that comes back (ExaBGP does, from its own memory).

`TRANSITIONS` is the only door: each pair of phase and event has its entry, and nothing else changes the
phase.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from bgp.config import Neighbor
from bgp.messages import NOT_YET, Answer, Desired, Ending, NeighborEvent, RelayState
from bgp.routes import Prefix, Route, RouteSet

CLEAR = "clear adj-rib out"
SHUTDOWN = "shutdown"


class Phase(Enum):
    """Who is responsible for what is announced."""

    ALONE = "alone"
    """No daemon; what was announced stays so until the deadline."""
    SERVING = "serving"
    """A daemon is connected."""
    LEAVING = "leaving"
    """The deadline has passed: everything is being withdrawn."""
    ENDED = "ended"
    """ExaBGP was asked to end, or is gone."""


@dataclass(frozen=True, slots=True)
class DaemonConnected:
    """A daemon opened a connection; a newer one takes the place of an older one."""


@dataclass(frozen=True, slots=True)
class DaemonLost:
    """The daemon's connection ended."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Send:
    """Command: write this line to ExaBGP."""

    line: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Command: send this state to the daemon."""

    state: RelayState


@dataclass(frozen=True, slots=True)
class Exit:
    """Command: end the relay."""


Event = DaemonConnected | DaemonLost | Desired | Answer | NeighborEvent | Ending | Ticked
Command = Send | Tell | Exit


@dataclass(frozen=True, slots=True)
class _Asked:
    """A command that ExaBGP has not answered; `route` is None for a withdrawal, both for other commands."""

    prefix: Prefix | None = None
    route: Route | None = None


class Session:
    """The state machine. Feed it with `handle`; call it with `Ticked` when `deadline` is due."""

    def __init__(self, neighbors: Sequence[Neighbor], adopt_s: float, now: float) -> None:
        self.phase = Phase.ALONE
        self.deadline: float | None = now + adopt_s
        self._adopt_s = adopt_s
        self._neighbors = tuple(neighbors)
        self._states = {str(neighbor.address): NOT_YET for neighbor in neighbors}
        self._serial = 0
        self._asked: deque[_Asked] = deque()
        self._told: dict[Prefix, Route | None] = {}
        self._announced: dict[Prefix, Route] = {}
        self._refused: dict[str, str] = {}
        self._out: list[Command] = []

    def begin(self) -> tuple[Command, ...]:
        """Return the first commands: whatever an earlier relay of this ExaBGP announced is withdrawn, so
        that what this one knows is all there is.
        """
        self._ask(CLEAR, _Asked())
        return self._commands()

    def handle(self, event: Event, now: float) -> tuple[Command, ...]:
        """Return what has to be done because `event` happened at `now` (seconds of the monotonic clock)."""
        self.phase = TRANSITIONS[self.phase, type(event)](self, event, now)
        return self._commands()

    def state(self) -> RelayState:
        """Return all that is known now."""
        return RelayState(
            serial=self._serial,
            announced=RouteSet.of(self._announced.values()),
            pending=len(self._asked),
            refused=dict(self._refused),
            neighbors=dict(self._states),
        )

    # What the entries of the table do. Each returns the next phase.

    def _ignore(self, _event: Event, _now: float) -> Phase:
        return self.phase

    def _serve(self, _event: Event, _now: float) -> Phase:
        self.deadline = None
        self._serial = 0
        self._tell()
        return Phase.SERVING

    def _wait_for_another(self, _event: Event, now: float) -> Phase:
        self.deadline = now + self._adopt_s
        return Phase.ALONE

    def _reconcile(self, event: Event, _now: float) -> Phase:
        assert isinstance(event, Desired)
        self._serial = event.serial
        self._refused.clear()
        self._move_to(event.routes)
        if not self._asked:
            self._tell()
        return self.phase

    def _give_up_if_due(self, _event: Event, now: float) -> Phase:
        if self.deadline is None or now < self.deadline:
            return self.phase
        self.deadline = None
        self._move_to(RouteSet())
        return self._end_when_answered()

    def _settle(self, event: Event, _now: float) -> Phase:
        assert isinstance(event, Answer)
        if self._asked:
            self._take_answer(self._asked.popleft(), event.done)
        if self.phase is Phase.LEAVING:
            return self._end_when_answered()
        if self.phase is Phase.SERVING and not self._asked:
            self._tell()
        return self.phase

    def _note_neighbor(self, event: Event, _now: float) -> Phase:
        assert isinstance(event, NeighborEvent)
        if self._states.get(event.address) != event.state:
            self._states[event.address] = event.state
            if self.phase is Phase.SERVING:
                self._tell()
        return self.phase

    def _exit(self, _event: Event, _now: float) -> Phase:
        self.deadline = None
        self._out.append(Exit())
        return Phase.ENDED

    # Below the table: no phases here.

    def _end_when_answered(self) -> Phase:
        if self._asked:
            return Phase.LEAVING
        self._out.append(Send(SHUTDOWN))
        return Phase.ENDED

    def _move_to(self, routes: RouteSet) -> None:
        """Ask for all that turns what ExaBGP was told into `routes`; announcements first."""
        difference = routes.difference(self._told)
        for route in difference.announce:
            self._announce(route)
        for prefix in difference.withdraw:
            del self._told[prefix]
            self._ask(withdrawal(prefix, self._neighbors), _Asked(prefix))

    def _announce(self, route: Route) -> None:
        lines = announcements(route, self._neighbors)
        if not lines:
            family = f"IPv{route.prefix.version}"
            self._refused[str(route.prefix)] = (
                f"no neighbor carries {family}: give one a next_hop of that family"
            )
            return
        self._told[route.prefix] = route
        for line in lines:
            self._ask(line, _Asked(route.prefix, route))

    def _take_answer(self, asked: _Asked, done: bool) -> None:
        if asked.prefix is None:
            return
        if not done:
            verb = "withdraw" if asked.route is None else "announce"
            self._refused[str(asked.prefix)] = f"exabgp refused to {verb} it: its log says why"
            self._told[asked.prefix] = None
        elif asked.route is None:
            self._announced.pop(asked.prefix, None)
        else:
            self._announced[asked.prefix] = asked.route

    def _ask(self, line: str, asked: _Asked) -> None:
        self._asked.append(asked)
        self._out.append(Send(line))

    def _tell(self) -> None:
        self._out.append(Tell(self.state()))

    def _commands(self) -> tuple[Command, ...]:
        out, self._out = tuple(self._out), []
        return out


def announcements(route: Route, neighbors: Iterable[Neighbor]) -> list[str]:
    """Return ExaBGP's commands to announce `route`: one for each next hop, naming the routers that get it."""
    version = route.prefix.version
    by_next_hop: dict[str, list[Neighbor]] = {}
    for neighbor in neighbors:
        if neighbor.carries(version):
            by_next_hop.setdefault(neighbor.next_hop_for(version), []).append(neighbor)
    tags = " ".join(str(community) for community in sorted(route.communities))
    suffix = f" community [{tags}]" if tags else ""
    return [
        f"{_selector(group)} announce route {route.prefix} next-hop {next_hop}{suffix}"
        for next_hop, group in by_next_hop.items()
    ]


def withdrawal(prefix: Prefix, neighbors: Iterable[Neighbor]) -> str:
    """Return ExaBGP's command to withdraw `prefix` from every router that carries its family."""
    group = [neighbor for neighbor in neighbors if neighbor.carries(prefix.version)]
    return f"{_selector(group)} withdraw route {prefix}"


def _selector(neighbors: Sequence[Neighbor]) -> str:
    return " , ".join(f"neighbor {neighbor.address}" for neighbor in neighbors)


Handler = Callable[[Session, Event, float], Phase]

TRANSITIONS: dict[tuple[Phase, type[Event]], Handler] = {
    (Phase.ALONE, DaemonConnected): Session._serve,
    (Phase.ALONE, DaemonLost): Session._ignore,
    (Phase.ALONE, Desired): Session._ignore,
    (Phase.ALONE, Answer): Session._settle,
    (Phase.ALONE, NeighborEvent): Session._note_neighbor,
    (Phase.ALONE, Ending): Session._exit,
    (Phase.ALONE, Ticked): Session._give_up_if_due,
    (Phase.SERVING, DaemonConnected): Session._serve,
    (Phase.SERVING, DaemonLost): Session._wait_for_another,
    (Phase.SERVING, Desired): Session._reconcile,
    (Phase.SERVING, Answer): Session._settle,
    (Phase.SERVING, NeighborEvent): Session._note_neighbor,
    (Phase.SERVING, Ending): Session._exit,
    (Phase.SERVING, Ticked): Session._ignore,
    (Phase.LEAVING, DaemonConnected): Session._serve,
    (Phase.LEAVING, DaemonLost): Session._ignore,
    (Phase.LEAVING, Desired): Session._ignore,
    (Phase.LEAVING, Answer): Session._settle,
    (Phase.LEAVING, NeighborEvent): Session._note_neighbor,
    (Phase.LEAVING, Ending): Session._exit,
    (Phase.LEAVING, Ticked): Session._ignore,
    (Phase.ENDED, DaemonConnected): Session._ignore,
    (Phase.ENDED, DaemonLost): Session._ignore,
    (Phase.ENDED, Desired): Session._ignore,
    (Phase.ENDED, Answer): Session._ignore,
    (Phase.ENDED, NeighborEvent): Session._ignore,
    (Phase.ENDED, Ending): Session._exit,
    (Phase.ENDED, Ticked): Session._ignore,
}
"""Phase and kind of event → what happens. Whole: a test checks that no pair is missing."""
