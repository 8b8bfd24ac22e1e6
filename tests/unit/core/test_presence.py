from __future__ import annotations

from lbnode.core.announce import AGENTS_S, IDLE_S, SHUTDOWN_S, STEADY_S, Phase
from lbnode.core.presence import Presence


def test_a_node_is_up_when_it_announces_something() -> None:
    presence = Presence(now=0.0)
    assert presence.observe(0.0, False, False, 0) is Phase.STARTING
    assert presence.observe(1.0, False, True, 5) is Phase.UP


def test_a_node_that_was_up_stays_up_when_its_pools_have_nobody_left() -> None:
    presence = Presence(now=0.0)
    presence.observe(0.0, False, True, 5)
    assert presence.observe(1.0, False, False, 5) is Phase.UP


def test_a_drained_node_is_draining_until_routes_are_gone_and_packets_have_stopped() -> None:
    presence = Presence(now=0.0)
    presence.observe(0.0, False, True, 5)
    assert presence.observe(10.0, True, True, 6) is Phase.DRAINING
    assert presence.observe(11.0, True, False, 7) is Phase.DRAINING
    assert presence.observe(11.0 + IDLE_S - 0.1, True, False, 7) is Phase.DRAINING
    assert presence.observe(11.0 + IDLE_S, True, False, 7) is Phase.DRAINED


def test_a_packet_that_arrives_late_makes_it_wait_again() -> None:
    presence = Presence(now=0.0)
    presence.observe(0.0, True, False, 1)
    assert presence.observe(IDLE_S, True, False, 2) is Phase.DRAINING
    assert presence.observe(2 * IDLE_S, True, False, 2) is Phase.DRAINED


def test_an_undrained_node_starts_its_next_drain_from_nothing() -> None:
    presence = Presence(now=0.0)
    presence.observe(0.0, True, True, 1)
    assert presence.draining_s(3.0) == 3.0
    presence.observe(3.0, False, True, 1)
    assert presence.draining_s(3.0) is None
    presence.observe(5.0, True, True, 1)
    assert presence.draining_s(6.0) == 1.0


def test_waiting_for_agents_is_counted_from_the_first_deaf_one() -> None:
    presence = Presence(now=0.0)
    assert presence.waited_s(1.0, deaf=False) == 0.0
    assert presence.waited_s(2.0, deaf=True) == 0.0
    assert presence.waited_s(2.0 + AGENTS_S, deaf=True) == AGENTS_S
    assert presence.waited_s(9.0, deaf=False) == 0.0


def test_packets_must_have_been_able_to_come_in_for_a_while_before_they_are_asked_for_again() -> None:
    presence = Presence(now=0.0)
    assert presence.obstacle(1.0, "its interface eth0 is down") == "its interface eth0 is down"
    assert "waits until" in presence.obstacle(5.0, "")
    assert presence.wake_at(5.0) == 5.0 + STEADY_S
    assert "waits until" in presence.obstacle(5.0 + STEADY_S - 0.1, "")
    assert presence.obstacle(5.0 + STEADY_S, "") == ""


def test_an_interface_that_flaps_begins_its_wait_anew() -> None:
    presence = Presence(now=0.0)
    presence.obstacle(1.0, "down")
    presence.obstacle(2.0, "")
    assert presence.obstacle(2.5, "down") == "down"
    presence.obstacle(3.0, "")
    assert presence.obstacle(2.0 + STEADY_S, "")
    assert not presence.obstacle(3.0 + STEADY_S, "")


def test_a_daemon_that_finds_nothing_in_the_way_of_packets_does_not_wait() -> None:
    assert Presence(now=0.0).obstacle(0.0, "") == ""


def test_it_wakes_for_the_end_of_graceful_shutdown_and_of_waiting() -> None:
    presence = Presence(now=0.0)
    assert presence.wake_at(0.0) is None
    presence.observe(1.0, True, True, 1)
    assert presence.wake_at(1.0) == 1.0 + SHUTDOWN_S
    assert presence.wake_at(1.0 + SHUTDOWN_S) is None
    presence.waited_s(5.0, deaf=True)
    assert presence.wake_at(5.0) == 5.0 + AGENTS_S
