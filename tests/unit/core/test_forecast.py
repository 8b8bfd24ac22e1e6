"""What a plan says is what the leader then does, counted flow by flow."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest

from lbnode.core.forecast import forecast
from lbnode.model.fleet import DesiredFleet, Protocol, Vip
from lbnode.model.flows import FlowQuestion
from lbnode.model.forecast import Broken, Forecast, PoolForecast, Share
from lbnode.model.ids import BackendName
from lbnode.model.requests import Refusal
from lbnode.model.view import FleetView

from .fleet_over_time import Fleet
from .fleets import SIZE, VIP, WEB, drain, fleet

B1, B2, B3, B4 = (BackendName(f"b{number}") for number in range(1, 5))


def foresee(web: Fleet, desired: DesiredFleet, wall: float | None = None) -> Forecast:
    found = forecast(web.view, desired, web.now if wall is None else wall)
    assert isinstance(found, Forecast), found
    return found


def pool_of(found: Forecast) -> PoolForecast:
    (pool,) = found.pools
    return pool


def ask(web: Fleet) -> None:
    """Let agents answer a question about the current epoch, as the leader asks when a change has to wait."""
    question = FlowQuestion(WEB, 1, web.epoch.number)
    web.view = replace(web.view, questions={WEB: question})
    web.answer()


def owned(web: Fleet, name: str) -> list[int]:
    return np.flatnonzero(web.table.owners == web.id(name)).tolist()


def test_nothing_changes_when_the_same_fleet_is_planned() -> None:
    web = Fleet("b1", "b2", "b3")
    found = foresee(web, web.desired("b1", "b2", "b3"))
    assert found.differences == ()
    pool = pool_of(found)
    assert (pool.moved, pool.held, pool.broken, pool.broken_by_force) == (0, (), (), ())


def test_buckets_that_move_are_those_that_move_when_it_is_applied() -> None:
    web = Fleet("b1", "b2", "b3")
    before = web.table.owners.copy()
    web.join("b4")
    found = pool_of(foresee(web, web.desired("b1", "b2", "b3", "b4")))
    web.apply("b1", "b2", "b3", "b4")
    web.settle()
    assert found.moved == int((before != web.table.owners).sum())
    shares = {share.backend: share for share in found.shares}
    gained = int((web.table.owners == web.id("b4")).sum())
    assert shares[B4] == Share(B4, 0, gained, gained, lost=0)
    assert sum(share.after for share in found.shares) == SIZE
    assert sum(share.lost for share in found.shares) == found.moved


def test_flows_of_moving_buckets_will_depend_on_a_second_chance() -> None:
    web = Fleet("b1", "b2", "b3")
    mine = owned(web, "b2")
    web.flows = {"b2": mine[:10], "b1": owned(web, "b1")[:5]}
    ask(web)
    pool = pool_of(foresee(web, web.desired("b1", "b3")))
    assert (pool.second_chances, pool.broken, pool.held) == (10, (), ())


def test_what_no_agent_was_asked_about_is_unknown() -> None:
    web = Fleet("b1", "b2", "b3")
    assert pool_of(foresee(web, web.desired("b1", "b3"))).second_chances is None


def shaken() -> tuple[Fleet, DesiredFleet]:
    """A fleet in which removing b3 and b4 would push out b1, which holds flows in every bucket that it owned."""
    web = Fleet("b1", "b2", "b3", "b4")
    web.flows = {"b1": owned(web, "b1")}
    for names in (("b1",), ("b1", "b2")):
        web.view = drain(web.view, *names)
        web.settle()
    ask(web)
    return web, web.desired("b1", "b2", "b4")


def test_what_would_be_held_is_said_with_the_flows_that_it_waits_for() -> None:
    web, desired = shaken()
    pool = pool_of(foresee(web, desired))
    (held,) = pool.held
    assert held.what == "remove b3"
    assert set(held.waits_for) == {B1}
    (broken,) = pool.broken_by_force
    assert (broken.backend, broken.flows) == (B1, held.waits_for[B1])
    assert "pushed out" in broken.why
    web.view = replace(web.view, desired=desired)
    web.settle()
    (really,) = web.view.held[WEB].changes
    assert (really.what, dict(really.waits_for)) == (held.what, dict(held.waits_for))


def test_without_an_answer_the_number_is_not_guessed() -> None:
    web, desired = shaken()
    web.view = replace(web.view, reports={})
    pool = pool_of(foresee(web, desired))
    assert pool.held[0].waits_for == {B1: None}
    assert pool.broken_by_force[0].flows is None


def weighed(desired: DesiredFleet, weight: int) -> DesiredFleet:
    """The fleet in which the second backend has another weight."""
    first, second, *others = desired.pools[0].members
    members = (first, replace(second, weight=weight), *others)
    return replace(desired, pools=(replace(desired.pools[0], members=members),))


def test_flows_older_than_the_window_are_said_to_break() -> None:
    web = Fleet("b1", "b2", "b3")
    before = web.table.owners.copy()
    web.view = replace(web.view, desired=weighed(web.desired("b1", "b2", "b3"), 5))
    web.settle()
    moved = np.flatnonzero((before == web.id("b1")) & (web.table.owners != web.id("b1"))).tolist()
    web.flows = {"b1": moved}
    ask(web)
    again = weighed(web.desired("b1", "b2", "b3"), 6)
    assert pool_of(foresee(web, again, web.now)).broken == ()
    (broken,) = pool_of(foresee(web, again, web.now + web.window_s + 1)).broken
    assert (broken.backend, "window is over" in broken.why) == (B1, True)
    assert broken.flows is not None
    assert 0 < broken.flows <= len(moved)


def test_flows_that_move_to_a_backend_without_agent_break() -> None:
    web = Fleet("b1", "b2", "b3")
    web.flows = {"b2": owned(web, "b2")}
    ask(web)
    agents = {name: agent for name, agent in web.view.agents.items() if name not in (B1, B3)}
    web.view = replace(web.view, agents=agents)
    (broken,) = pool_of(foresee(web, web.desired("b1", "b3"))).broken
    assert (broken.backend, broken.flows) == (B2, len(owned(web, "b2")))
    assert "without agent" in broken.why
    remembered = web.desired("b1", "b3", flow_table=True)
    assert pool_of(foresee(web, remembered)).broken == ()


def test_a_pool_that_ends_takes_all_its_flows_with_it() -> None:
    web = Fleet("b1", "b2")
    web.flows = {"b1": [3, 4], "b2": []}
    ask(web)
    found = foresee(web, replace(web.desired("b1", "b2"), pools=(), vips=()))
    assert pool_of(found).broken == (Broken(B1, 2, "pool web ends"),)


def test_a_vip_that_ends_and_an_address_that_changes_break_flows() -> None:
    web = Fleet("b1", "b2")
    web.flows = {"b1": [3], "b2": [7, 7]}
    ask(web)
    desired = web.desired("b1", "b2")
    other = replace(desired, vips=(Vip(VIP, Protocol.TCP, 81, WEB),))
    why = "vip 192.0.2.10:80/tcp ends"
    assert pool_of(foresee(web, other)).broken == (Broken(B1, 1, why), Broken(B2, 2, why))
    moved = replace(desired.backends[1], addresses=(ip_address("10.7.7.7"),))
    (broken,) = pool_of(foresee(web, replace(desired, backends=(desired.backends[0], moved)))).broken
    assert (broken.backend, broken.flows) == (B2, 2)
    assert "lbctl backend replace" in broken.why


def test_a_new_pool_moves_everything_and_breaks_nothing() -> None:
    view = FleetView(connected=True)
    refused = forecast(view, fleet("b1"), 0.0)
    assert isinstance(refused, Refusal)
    web = Fleet("b1", "b2")
    web.view = replace(web.view, epochs={}, current={})
    pool = pool_of(foresee(web, web.desired("b1", "b2")))
    assert (pool.moved, pool.broken) == (SIZE, ())


def test_what_apply_refuses_plan_refuses() -> None:
    web = Fleet("b1", "b2")
    refused = forecast(web.view, web.desired("b1", table_size=509), 0.0)
    assert isinstance(refused, Refusal)
    assert "table_size 251 → 509" in refused.reason


@pytest.mark.parametrize("names", [("b1",), ("b2", "b3")])
def test_planning_changes_nothing(names: tuple[str, ...]) -> None:
    web = Fleet("b1", "b2", "b3")
    before = repr(web.view)
    foresee(web, web.desired(*names))
    assert repr(web.view) == before
