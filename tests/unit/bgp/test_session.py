"""Scripts for the relay's state machine: events in, commands out."""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.config import Neighbor
from bgp.messages import Answer, Desired, Ending, NeighborEvent, RelayState
from bgp.routes import GRACEFUL_SHUTDOWN, Prefix, Route, RouteSet
from bgp.session import (
    CLEAR,
    SHUTDOWN,
    TRANSITIONS,
    Command,
    DaemonConnected,
    DaemonLost,
    Event,
    Exit,
    Phase,
    Send,
    Session,
    Tell,
    Ticked,
    announcements,
    withdrawal,
)

ADOPT_S = 30.0
ONE = Route.to(ip_address("192.0.2.1"))
TWO = Route.to(ip_address("192.0.2.2"))
SIX = Route.to(ip_address("2001:db8::1"))
ROUTER = Neighbor(ip_address("10.0.1.1"), 65000, ip_address("10.0.1.11"))
OTHER = Neighbor(ip_address("10.0.2.1"), 65000, ip_address("10.0.2.11"))
DUAL = Neighbor(ip_address("10.0.3.1"), 65000, ip_address("10.0.3.11"), next_hop=ip_address("fd00::11"))
ROUTER6 = Neighbor(ip_address("fd00::1"), 65000, ip_address("fd00::11"))

ANNOUNCE_ONE = Send("neighbor 10.0.1.1 announce route 192.0.2.1/32 next-hop self")
WITHDRAW_ONE = Send("neighbor 10.0.1.1 withdraw route 192.0.2.1/32")
DONE, ERROR = Answer(True), Answer(False)


def desired(serial: int, *routes: Route) -> Desired:
    return Desired(serial, RouteSet.of(routes))


def begun(neighbors: Sequence[Neighbor] = (ROUTER,)) -> Session:
    """A session whose first command has been answered."""
    session = Session(neighbors, ADOPT_S, now=0.0)
    assert session.begin() == (Send(CLEAR),)
    assert session.handle(DONE, 0.0) == ()
    return session


def serving(*routes: Route, neighbors: Sequence[Neighbor] = (ROUTER,)) -> Session:
    """A session whose daemon is connected and has had `routes` announced."""
    session = begun(neighbors)
    session.handle(DaemonConnected(), 0.0)
    for command in session.handle(desired(1, *routes), 0.0):
        if isinstance(command, Send):
            session.handle(DONE, 0.0)
    assert list(session.state().announced) == sorted(routes, key=lambda route: str(route.prefix))
    return session


def told(commands: Sequence[Command]) -> RelayState:
    """The state in the one Tell of `commands`."""
    (state,) = [command.state for command in commands if isinstance(command, Tell)]
    return state


def test_every_phase_says_what_each_event_means() -> None:
    kinds = typing.get_args(Event)
    assert set(TRANSITIONS) == {(phase, kind) for phase in Phase for kind in kinds}


def test_a_daemon_is_told_the_state_when_it_connects() -> None:
    state = told(begun().handle(DaemonConnected(), 1.0))
    assert state == RelayState(neighbors={"10.0.1.1": "down: no session yet"})


def test_a_route_is_announced_only_once_it_is_acknowledged() -> None:
    session = begun()
    session.handle(DaemonConnected(), 1.0)
    assert session.handle(desired(1, ONE), 1.0) == (ANNOUNCE_ONE,)
    assert session.state().pending == 1
    assert len(session.state().announced) == 0
    state = told(session.handle(DONE, 1.1))
    assert (state.serial, state.pending, list(state.announced)) == (1, 0, [ONE])


def test_a_set_that_changes_nothing_is_answered_at_once() -> None:
    commands = serving(ONE).handle(desired(2, ONE), 1.0)
    assert told(commands).serial == 2
    assert len(commands) == 1


def test_only_the_difference_is_sent_and_announcements_come_first() -> None:
    lines = [command for command in serving(ONE).handle(desired(2, TWO), 1.0) if isinstance(command, Send)]
    assert lines == [Send("neighbor 10.0.1.1 announce route 192.0.2.2/32 next-hop self"), WITHDRAW_ONE]


def test_communities_are_replaced_in_place() -> None:
    marked = Route(ONE.prefix, frozenset([GRACEFUL_SHUTDOWN]))
    (line,) = serving(ONE).handle(desired(2, marked), 1.0)
    assert line == Send("neighbor 10.0.1.1 announce route 192.0.2.1/32 next-hop self community [65535:0]")


def test_a_set_that_comes_before_the_last_is_acknowledged_builds_on_it() -> None:
    session = begun()
    session.handle(DaemonConnected(), 1.0)
    assert session.handle(desired(1, ONE), 1.0) == (ANNOUNCE_ONE,)
    assert session.handle(desired(2), 1.0) == (WITHDRAW_ONE,)
    assert session.handle(DONE, 1.0) == ()
    state = told(session.handle(DONE, 1.0))
    assert (state.serial, list(state.announced)) == (2, [])


def test_a_refused_route_is_named_and_tried_again_with_the_next_set() -> None:
    session = begun()
    session.handle(DaemonConnected(), 1.0)
    session.handle(desired(1, ONE), 1.0)
    state = told(session.handle(ERROR, 1.0))
    assert "refused to announce" in state.refused["192.0.2.1/32"]
    assert list(state.announced) == []
    assert session.handle(desired(2, ONE), 2.0) == (ANNOUNCE_ONE,)
    assert told(session.handle(DONE, 2.0)).refused == {}


def test_a_refused_withdrawal_stays_announced_and_is_tried_again() -> None:
    session = serving(ONE)
    session.handle(desired(2), 1.0)
    state = told(session.handle(ERROR, 1.0))
    assert list(state.announced) == [ONE]
    assert session.handle(desired(3), 2.0) == (WITHDRAW_ONE,)


def test_a_route_that_no_router_carries_is_refused_without_asking_exabgp() -> None:
    session = begun()
    session.handle(DaemonConnected(), 1.0)
    state = told(session.handle(desired(1, SIX), 1.0))
    assert "IPv6" in state.refused["2001:db8::1/128"]


def test_routers_with_one_next_hop_share_a_command_and_others_have_their_own() -> None:
    neighbors = [ROUTER, OTHER, DUAL, ROUTER6]
    assert announcements(ONE, neighbors) == [
        "neighbor 10.0.1.1 , neighbor 10.0.2.1 , neighbor 10.0.3.1 announce route 192.0.2.1/32 next-hop self"
    ]
    assert announcements(SIX, neighbors) == [
        "neighbor 10.0.3.1 announce route 2001:db8::1/128 next-hop fd00::11",
        "neighbor fd00::1 announce route 2001:db8::1/128 next-hop self",
    ]
    assert (
        withdrawal(SIX.prefix, neighbors)
        == "neighbor 10.0.3.1 , neighbor fd00::1 withdraw route 2001:db8::1/128"
    )


def test_a_change_of_a_router_is_told_once() -> None:
    session = serving(ONE)
    up = NeighborEvent("10.0.1.1", "up")
    assert told(session.handle(up, 1.0)).neighbors == {"10.0.1.1": "up"}
    assert session.handle(up, 1.1) == ()


def test_what_happened_while_nobody_listened_is_told_to_the_next_daemon() -> None:
    session = serving(ONE)
    session.handle(DaemonLost(), 1.0)
    assert session.handle(NeighborEvent("10.0.1.1", "up"), 2.0) == ()
    state = told(session.handle(DaemonConnected(), 3.0))
    assert (dict(state.neighbors), list(state.announced)) == ({"10.0.1.1": "up"}, [ONE])


def test_a_new_daemons_sets_are_not_confused_with_an_old_ones() -> None:
    session = serving(ONE)
    session.handle(desired(57, ONE), 1.0)
    session.handle(DaemonLost(), 1.0)
    assert told(session.handle(DaemonConnected(), 2.0)).serial == 0


def test_routes_stay_until_the_deadline_and_not_longer() -> None:
    session = serving(ONE)
    session.handle(DaemonLost(), 100.0)
    assert session.deadline == 100.0 + ADOPT_S
    assert session.handle(Ticked(), 129.9) == ()
    assert session.handle(Ticked(), 130.0) == (WITHDRAW_ONE,)
    assert session.handle(DONE, 130.1) == (Send(SHUTDOWN),)
    assert session.phase is Phase.ENDED


def test_nothing_announced_ends_exabgp_at_the_deadline_at_once() -> None:
    session = begun()
    assert session.deadline == ADOPT_S
    assert session.handle(Ticked(), ADOPT_S) == (Send(SHUTDOWN),)


def test_a_refused_withdrawal_does_not_keep_exabgp_alive() -> None:
    session = serving(ONE)
    session.handle(DaemonLost(), 0.0)
    session.handle(Ticked(), ADOPT_S)
    assert session.handle(ERROR, ADOPT_S) == (Send(SHUTDOWN),)


def test_a_daemon_in_time_stops_the_clock() -> None:
    session = serving(ONE)
    session.handle(DaemonLost(), 0.0)
    session.handle(DaemonConnected(), 29.0)
    assert session.deadline is None
    assert session.handle(Ticked(), 1000.0) == ()


def test_a_daemon_that_comes_during_the_withdrawal_is_served() -> None:
    session = serving(ONE)
    session.handle(DaemonLost(), 0.0)
    session.handle(Ticked(), ADOPT_S)
    session.handle(DaemonConnected(), ADOPT_S)
    assert session.handle(desired(1, ONE), ADOPT_S) == (ANNOUNCE_ONE,)
    session.handle(DONE, ADOPT_S)
    assert list(told(session.handle(DONE, ADOPT_S)).announced) == [ONE]


@pytest.mark.parametrize("phase", list(Phase))
def test_the_end_of_exabgp_ends_the_relay_in_every_phase(phase: Phase) -> None:
    session = serving(ONE)
    session.phase = phase
    assert session.handle(Ending(), 1.0) == (Exit(),)
    assert session.deadline is None


class ExaBgp:
    """What ExaBGP does with the commands, reduced to its memory: it obeys or refuses, as `mood` says, in
    order.
    """

    def __init__(self) -> None:
        self.holds: set[str] = set()
        self._unread: deque[str] = deque()

    def take(self, commands: Sequence[Command]) -> None:
        self._unread.extend(command.line for command in commands if isinstance(command, Send))

    def answer(self, *, obey: bool) -> Answer | None:
        if not self._unread:
            return None
        words = self._unread.popleft().split()
        if obey and "route" in words:
            prefix = words[words.index("route") + 1]
            (self.holds.discard if "withdraw" in words else self.holds.add)(prefix)
        return Answer(obey)


sets = st.frozensets(st.sampled_from([ONE.prefix, TWO.prefix]))


@given(st.lists(st.one_of(sets, st.booleans()), max_size=30), sets)
def test_whatever_was_refused_before_exabgp_ends_with_exactly_the_last_set(
    history: list[frozenset[Prefix] | bool], last: frozenset[Prefix]
) -> None:
    """A step of the history is a whole set of the daemon, or an answer of ExaBGP: True obeys, False
    refuses.
    """
    session, exabgp = Session([ROUTER], ADOPT_S, 0.0), ExaBgp()
    exabgp.take(session.begin())
    exabgp.take(session.handle(DaemonConnected(), 0.0))
    for serial, step in enumerate([*history, last], start=1):
        if isinstance(step, frozenset):
            exabgp.take(session.handle(Desired(serial, RouteSet.of(map(Route, step))), 0.0))
        elif answer := exabgp.answer(obey=step):
            exabgp.take(session.handle(answer, 0.0))
    while answer := exabgp.answer(obey=True):
        exabgp.take(session.handle(answer, 0.0))
    assert exabgp.holds == {str(prefix) for prefix in last}
    assert {route.prefix for route in session.state().announced} == last
