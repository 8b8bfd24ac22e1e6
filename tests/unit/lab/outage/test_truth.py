"""A status is held against what the drill did: who was cut off must be known to be."""

from __future__ import annotations

from dataclasses import replace

from lbnode.core.status import assess
from lbnode.lab.outage.truth import dissent, state_of, untruths
from lbnode.model.epoch import BackendState
from lbnode.model.members import AgentLive
from lbnode.model.status import AgentState, FleetStatus
from lbnode.model.view import FleetView
from tests.unit.core.fleets import WEB, current
from tests.unit.core.test_status import B1, N1, live, well


def seen(view: FleetView, by: str = "n1") -> FleetStatus:
    return assess(view, live(view, by), {WEB: current(view)}, now=1090.0)


def with_agents(view: FleetView) -> FleetView:
    """All agents connected."""
    agents = {name: AgentLive(name, "0.1.0") for name in view.backends}
    members = {name: replace(member, agent=True) for name, member in view.backends.items()}
    return replace(view, backends=members, live_agents=agents)


WHOLE = with_agents(well())


def test_a_node_that_is_cut_off_must_say_so() -> None:
    assert list(untruths(seen(WHOLE), {N1})) == [
        "n1 says that it has the fleet's view",
        "n1 says that all nodes agree",
    ]
    assert list(untruths(seen(replace(WHOLE, connected=False)), {N1})) == []


def test_others_must_not_say_that_who_is_cut_off_is_connected() -> None:
    said = list(untruths(seen(WHOLE, by="n2"), {N1, B1}))

    assert said == ["n2 says that node n1 is connected", "n2 says that the agent of b1 is connected"]
    without = replace(
        WHOLE,
        live_nodes={name: node for name, node in WHOLE.live_nodes.items() if name != N1},
        live_agents={name: agent for name, agent in WHOLE.live_agents.items() if name != B1},
    )
    assert list(untruths(seen(without, by="n2"), {N1, B1})) == []


def test_a_fleet_that_is_whole_is_of_one_mind() -> None:
    assert list(dissent(seen(WHOLE), ["n1", "n2"])) == []


def test_whoever_is_missing_speaks_against_it() -> None:
    said = list(dissent(seen(replace(WHOLE, live_agents={})), ["n1", "n2", "n3"]))

    assert said[0] == "n1 says that node n3 is not connected"
    assert "n1 says that the agent of b1 is not connected" in said


def test_a_local_view_is_no_agreement() -> None:
    said = list(dissent(seen(replace(WHOLE, connected=False)), ["n1", "n2"]))

    assert said[:2] == ["n1 goes by its local view", "n1 says that not all agree"]


def test_the_state_of_a_backend_is_read_off_its_slot() -> None:
    status = seen(WHOLE)

    assert status.pools[0].slots[0].agent is AgentState.CONNECTED
    assert state_of(status, "b1") is BackendState.ACTIVE
    assert state_of(status, "b9") is None
