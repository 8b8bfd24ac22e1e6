"""Nodes that go by old epochs: what they know of it, and how far windows close meanwhile."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lbnode.core.lateness import PATIENCE_WINDOWS, PUNCTUAL_S, Lateness
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import Intents
from lbnode.model.ids import BackendName, EpochNumber, NodeName
from lbnode.model.members import Late, NodeMember
from tests.unit.store import fleets

from .fleet_over_time import Fleet
from .fleets import WEB, drain, node

N1, N2 = NodeName("n1"), NodeName("n2")
WINDOW_S = 100.0
ONE, TWO, THREE = map(EpochNumber, (1, 2, 3))


def epochs(*created_at: float) -> dict[EpochNumber, Epoch]:
    """Epochs 1, 2, …, created at these times."""
    return {
        EpochNumber(number): replace(fleets.epoch(number), created_at=at)
        for number, at in enumerate(created_at, 1)
    }


class TestANode:
    def test_is_punctual_when_it_goes_over_soon_after_an_epochs_creation(self) -> None:
        lateness = Lateness()
        lateness.switched(WEB, ONE, epochs(0.0, 100.0), 100.0 + PUNCTUAL_S / 2)
        lateness.switched(WEB, None, epochs(0.0), 500.0)
        assert lateness.pools == {}

    def test_is_late_when_the_fleet_had_left_its_epoch_long_before(self) -> None:
        lateness = Lateness()
        lateness.switched(WEB, ONE, epochs(0.0, 100.0, 900.0), 905.0)
        assert lateness.pools == {WEB: Late(ONE, 905.0)}

    def test_is_late_when_nobody_remembers_its_epoch_any_more(self) -> None:
        lateness = Lateness()
        lateness.switched(WEB, ONE, {THREE: epochs(0.0, 0.0, 900.0)[THREE]}, 905.0)
        assert lateness.pools == {WEB: Late(ONE, 905.0)}

    def test_remembers_the_oldest_epoch_and_the_last_time(self) -> None:
        lateness = Lateness()
        lateness.switched(WEB, TWO, epochs(0.0, 100.0, 200.0), 300.0)
        lateness.switched(WEB, THREE, epochs(0.0, 100.0, 200.0, 301.0), 302.0)
        lateness.switched(WEB, ONE, epochs(0.0, 100.0, 200.0, 301.0), 400.0)
        assert lateness.pools == {WEB: Late(ONE, 400.0)}

    def test_is_not_late_by_its_own_verdicts_on_the_newest_epoch(self) -> None:
        lateness = Lateness()
        lateness.switched(WEB, TWO, epochs(0.0, 100.0), 900.0)
        assert lateness.pools == {}


def with_two_nodes() -> Fleet:
    """Nodes n1 and n2 are members, only n1 is there; b1 has been drained at 0 s and taken back."""
    world = Fleet("b1", "b2", "b3", window_s=WINDOW_S)
    members = {name: NodeMember(name, (ip_address("10.0.1.1"),), 1) for name in (N1, N2)}
    world.view = replace(world.view, nodes=members)
    drain_and_take_back(world, "b1")
    return world


def drain_and_take_back(world: Fleet, backend: str) -> None:
    """Make two epochs: one without the backend, one like that before them."""
    world.view = drain(world.view, backend)
    world.settle()
    world.view = replace(world.view, intents=Intents())
    world.settle()


def closed(world: Fleet) -> bool:
    return world.epoch.window_from == world.epoch.number


class TestAWindow:
    def test_stays_open_while_a_member_is_cut_off(self) -> None:
        world = with_two_nodes()
        began = world.epoch.window_from
        world.settle(2 * WINDOW_S)
        assert world.epoch.window_from == began

    @pytest.mark.parametrize("how", ["removed", "drained"])
    def test_closes_when_that_member_has_been_removed_or_drained(self, how: str) -> None:
        world = with_two_nodes()
        if how == "removed":
            world.view = replace(world.view, nodes={N1: world.view.nodes[N1]})
        else:
            world.view = replace(world.view, intents=Intents(drained_nodes=(N2,)))
        world.settle(2 * WINDOW_S)
        assert closed(world)

    def test_closes_in_the_end_although_nobody_removes_it(self) -> None:
        world = with_two_nodes()
        world.settle((PATIENCE_WINDOWS + 1) * WINDOW_S)
        assert closed(world)

    def test_is_given_up_epoch_by_epoch_each_so_long_after_the_fleet_left_it(self) -> None:
        world = with_two_nodes()
        began = world.epoch.window_from
        world.settle((PATIENCE_WINDOWS - 1) * WINDOW_S)
        left = world.epoch.number
        drain_and_take_back(world, "b2")
        world.settle(1.5 * WINDOW_S)
        assert began < world.epoch.window_from <= left
        world.settle((PATIENCE_WINDOWS - 1) * WINDOW_S)
        assert closed(world)

    def test_closes_although_it_is_gone_where_a_backend_has_no_agent(self) -> None:
        world = with_two_nodes()
        b3 = BackendName("b3")
        backends = {**world.view.backends, b3: replace(world.view.backends[b3], agent=False)}
        world.view = replace(world.view, backends=backends)
        world.view = replace(world.view, agents={k: v for k, v in world.view.agents.items() if k != "b3"})
        world.settle()
        world.settle(2 * WINDOW_S)
        assert closed(world)

    def test_lasts_for_its_whole_length_after_the_return(self) -> None:
        world = with_two_nodes()
        began = world.epoch.window_from
        world.settle(2 * WINDOW_S)
        back = node("n2", world.epoch.number)
        late = replace(back.pools[WEB], late=Late(began, world.now))
        world.others = {N2: replace(back, pools={WEB: late})}

        world.settle(0.9 * WINDOW_S)
        assert world.epoch.window_from == began
        world.settle(0.2 * WINDOW_S)
        assert closed(world)
