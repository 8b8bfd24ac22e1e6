"""What process 1 of a container does, event by event."""

from __future__ import annotations

from signal import SIGKILL, SIGQUIT, SIGTERM

from lbnode.container.supervision import (
    BAD_SETTINGS,
    CLOSE_S,
    CRASHES,
    CRASHES_IN_S,
    STARTED_S,
    Command,
    End,
    Part,
    Say,
    Send,
    Start,
    Supervision,
)

BOTH = frozenset(Part)
DAEMON, SERVICE = Part.DAEMON, Part.SERVICE
LATER = STARTED_S + 1


def acts(commands: list[Command]) -> list[Command]:
    """The commands without what is only said."""
    return [command for command in commands if not isinstance(command, Say)]


def said(commands: list[Command]) -> str:
    return " ".join(command.text for command in commands if isinstance(command, Say))


def test_a_stop_lets_the_daemon_leave_before_the_service_ends() -> None:
    state = Supervision(BOTH, 0.0)
    assert state.asked_to_stop(100.0) == [Send(DAEMON, SIGTERM)]
    assert state.ended(DAEMON, 0, 130.0) == [Send(SERVICE, SIGQUIT)]
    assert state.ended(SERVICE, 0, 131.0) == [End(0)]


def test_a_container_without_a_service_ends_with_its_daemon() -> None:
    state = Supervision(frozenset({DAEMON}), 0.0)
    state.asked_to_stop(100.0)
    assert state.ended(DAEMON, 0, 101.0) == [End(0)]


def test_a_second_stop_reaches_the_daemon_too() -> None:
    state = Supervision(BOTH, 0.0)
    assert state.asked_to_stop(100.0) == state.asked_to_stop(101.0) == [Send(DAEMON, SIGTERM)]


def test_a_stop_while_the_service_closes_sends_nothing_more() -> None:
    state = Supervision(BOTH, 0.0)
    state.asked_to_stop(100.0)
    state.ended(DAEMON, 0, 101.0)
    assert state.asked_to_stop(102.0) == []


def test_a_service_that_does_not_end_is_killed() -> None:
    state = Supervision(BOTH, 0.0)
    assert state.wake_at is None
    state.asked_to_stop(100.0)
    state.ended(DAEMON, 0, 101.0)
    assert state.wake_at == 101.0 + CLOSE_S
    assert state.tick(101.0 + CLOSE_S - 0.1) == []
    assert acts(state.tick(101.0 + CLOSE_S)) == [Send(SERVICE, SIGKILL)]
    assert state.wake_at is None
    assert state.ended(SERVICE, 137, 112.0) == [End(0)]


def test_a_daemon_that_cannot_start_ends_the_container_with_its_status() -> None:
    state = Supervision(BOTH, 0.0)
    commands = state.ended(DAEMON, 1, STARTED_S - 1)
    assert acts(commands) == [Send(SERVICE, SIGQUIT)]
    assert said(commands) == "the daemon ended with status 1 after 9 s"
    assert state.ended(SERVICE, 0, 11.0) == [End(1)]


def test_settings_that_cannot_be_used_are_never_tried_again() -> None:
    state = Supervision(frozenset({DAEMON}), 0.0)
    assert acts(state.ended(DAEMON, BAD_SETTINGS, LATER)) == [End(BAD_SETTINGS)]


def test_a_daemon_that_crashed_is_started_again_and_the_service_goes_on() -> None:
    state = Supervision(BOTH, 0.0)
    commands = state.ended(DAEMON, 139, LATER)
    assert acts(commands) == [Start(DAEMON)]
    assert "crashed (status 139)" in said(commands)
    assert state.asked_to_stop(LATER + 1) == [Send(DAEMON, SIGTERM)]


def test_a_crash_at_once_after_a_crash_ends_the_container() -> None:
    state = Supervision(frozenset({DAEMON}), 0.0)
    state.ended(DAEMON, 139, LATER)
    assert acts(state.ended(DAEMON, 139, LATER + 1)) == [End(139)]


def test_crashes_that_come_back_end_the_container_and_rare_ones_never_do() -> None:
    def crash(times: int, pause_s: float) -> list[Command]:
        state, now = Supervision(frozenset({DAEMON}), 0.0), 0.0
        for _ in range(times):
            now += pause_s
            last = acts(state.ended(DAEMON, 139, now))
        return last

    assert crash(CRASHES, LATER) == [Start(DAEMON)]
    assert crash(CRASHES + 1, LATER) == [End(139)]
    assert crash(10 * CRASHES, CRASHES_IN_S) == [Start(DAEMON)]


def test_a_service_that_ends_takes_the_container_with_it() -> None:
    for status, end in ((0, 1), (3, 3)):
        state = Supervision(BOTH, 0.0)
        commands = state.ended(SERVICE, status, LATER)
        assert acts(commands) == [Send(DAEMON, SIGKILL)]
        assert f"the service ended with status {status}" in said(commands)
        assert state.ended(DAEMON, 137, LATER) == [End(end)]


def test_a_daemon_that_somebody_else_stops_ends_the_container_in_good_order() -> None:
    state = Supervision(BOTH, 0.0)
    assert state.ended(DAEMON, 0, LATER) == [Send(SERVICE, SIGQUIT)]
    assert state.ended(SERVICE, 0, LATER) == [End(0)]
