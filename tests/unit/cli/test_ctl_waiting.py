from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lbnode.cli.ctl_progress import parse_time
from lbnode.model.flows import HeldChange, HeldChanges
from lbnode.model.ids import BackendName, NodeName, PoolName
from tests.unit.core.fleets import fleet
from tests.unit.rpc.cluster import N2, MemoryCluster

from .conftest import Hours

Lbctl = Callable[..., "tuple[int, str, str]"]
WEB = PoolName("web")
B1, B2, B3, B9 = (BackendName(name) for name in ("b1", "b2", "b3", "b9"))


@pytest.fixture
def agents(cluster: MemoryCluster) -> MemoryCluster:
    """The cluster whose backends all have the agent; b2 holds 212 flows."""
    cluster.join("b1", "b2", "b3")
    cluster.count(b1=0, b2=212, b3=0)
    return cluster


class TestDrain:
    def test_it_shows_the_flows_that_are_left_and_ends_without_them(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        hours.events = [lambda: agents.count(b2=1), lambda: agents.count(b2=0)]
        status, out, err = lbctl("backend", "drain", "b2", "--wait")
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            "~ pool web, backend b2: active → draining",
            "drain b2: 212 flows left",
            "drain b2: 1 flow left",
            "drain b2: no flows left",
        ]
        assert hours.at >= 2.5

    def test_no_flows_are_believed_only_when_the_count_stays(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        agents.count(b2=0)
        hours.events = [lambda: agents.count(b2=0), lambda: agents.count(b2=5), lambda: agents.count(b2=0)]
        status, out, _ = lbctl("backend", "drain", "b2", "--wait")
        assert status == 0
        assert "drain b2: 5 flows left" in out
        assert hours.at >= 4.0

    def test_after_the_time_it_says_how_many_are_left_and_what_to_do(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        status, _, err = lbctl("backend", "drain", "b2", "--wait", "--timeout", "3m")
        assert status == 1
        assert err.splitlines()[0] == "error: drain b2: 212 flows left after 3m"
        assert "lbctl backend remove b2 --force" in err
        assert hours.at == 180

    def test_a_backend_without_agent_cannot_be_counted(self, lbctl: Lbctl, hours: Hours) -> None:
        status, _, err = lbctl("backend", "drain", "b2", "--wait")
        assert status == 1
        assert "b2 gets no new flows, but has no agent: those that it holds cannot be counted" in err
        assert hours.at == 0

    def test_a_drain_that_is_held_says_for_whom(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        before = agents.view
        lbctl("backend", "drain", "b2")
        held = HeldChanges(WEB, (HeldChange("drain b2", {B1: 7, B3: None}, 0.0, 600.0),))
        agents.view = replace(before, intents=agents.view.intents, held={WEB: held})
        _, out, err = lbctl("backend", "drain", "b2", "--wait", "--timeout", "1s")
        words = "held in pool web: waits for 7 flows on b1, flows on b3 (not counted yet)"
        assert f"drain b2: {words}" in out
        assert words in err

    def test_a_node_that_is_cut_off_and_may_send_new_flows_is_said(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        agents.cut_off.add(N2)
        _, out, _ = lbctl("backend", "drain", "b2", "--wait", "--timeout", "1s")
        assert "drain b2: 212 flows left; n2 has not got epoch 3 and may send it new ones" in out
        assert "n2 has not got epoch 3 (cut off from the store)" in lbctl("status")[1]

    def test_an_agent_that_went_away_is_said(self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours) -> None:
        lbctl("backend", "drain", "b2")
        live = {name: agent for name, agent in agents.view.live_agents.items() if name != B2}
        agents.view = replace(agents.view, live_agents=live)
        _, _, err = lbctl("backend", "drain", "b2", "--wait", "--timeout", "10")
        assert "its agent is not connected: flows not counted after 10s" in err

    def test_force_sets_free_what_is_held(self, lbctl: Lbctl, agents: MemoryCluster) -> None:
        lbctl("backend", "drain", "b2")
        newest = agents.view.newest(WEB)
        assert newest is not None
        status, out, _ = lbctl("backend", "drain", "b2", "--force")
        assert (status, out) == (0, "~ pool web: what is held goes ahead\n")
        assert agents.view.intents.forced == {WEB: newest.number}


class TestReplace:
    def test_the_newcomer_takes_over_the_slot_and_the_leaver_leaves(
        self, lbctl: Lbctl, agents: MemoryCluster
    ) -> None:
        status, out, _ = lbctl("backend", "replace", "b2", "--with", "b9", "10.0.0.9")
        assert status == 0
        assert out.splitlines() == ["+ backend b9: 10.0.0.9", "~ pool web, slot 1: b2 → b9", "- backend b2"]
        assert "left slot 1: b2 (10.0.0.2) in epoch 3, draining, 212 flows" in lbctl("status")[1]

    def test_one_that_never_took_its_slot_is_waited_for_like_any_other(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        before = agents.view
        lbctl("backend", "replace", "b2", "--with", "b9", "10.0.0.9")
        agents.view = replace(before, desired=agents.view.desired, backends=agents.view.backends)
        words = ("--with", "b8", "10.0.0.8", "--force", "--wait", "--timeout", "10s")
        status, out, _ = lbctl("backend", "replace", "b9", *words)
        assert (status, out.splitlines()[-1]) == (0, "replace b9 in pool web: no flows left")

    def test_waiting_ends_when_the_leaver_holds_nothing(
        self, lbctl: Lbctl, agents: MemoryCluster, hours: Hours
    ) -> None:
        hours.events = [lambda: agents.count(b2=3), lambda: agents.count(b2=0), agents.rest]
        status, out, err = lbctl("backend", "replace", "b2", "--with", "b9", "10.0.0.9", "--wait")
        assert (status, err) == (0, "")
        assert "replace b2 in pool web: 212 flows left" in out
        assert "replace b2 in pool web: 3 flows left" in out
        assert out.splitlines()[-1] == "replace b2 in pool web: no flows left"

    def test_a_slot_that_is_being_replaced_is_not_replaced_again(
        self, lbctl: Lbctl, agents: MemoryCluster
    ) -> None:
        lbctl("backend", "replace", "b2", "--with", "b9", "10.0.0.9")
        status, _, err = lbctl("backend", "replace", "b9", "--with", "b8", "10.0.0.8")
        assert status == 1
        assert "slot 1 of pool web is being replaced already: b2 left it and still holds 212 flows" in err
        assert lbctl("backend", "replace", "b9", "--with", "b8", "10.0.0.8", "--force")[0] == 0

    def test_an_address_that_is_none_is_bad_input(self, lbctl: Lbctl) -> None:
        assert lbctl("backend", "replace", "b2", "--with", "b9", "10.0.0.x")[0] == 2


class TestRemove:
    def test_a_backend_that_still_has_flows_is_refused_without_force(
        self, lbctl: Lbctl, agents: MemoryCluster
    ) -> None:
        lbctl("backend", "drain", "b2")
        status, _, err = lbctl("backend", "remove", "b2")
        assert status == 1
        assert "error: b2 still holds 212 flows in pool web" in err
        assert "lbctl backend drain b2 --wait" in err
        assert agents.view.desired == fleet("b1", "b2", "b3")
        assert lbctl("backend", "remove", "b2", "--force")[0] == 0

    def test_without_flows_it_goes(self, lbctl: Lbctl, agents: MemoryCluster) -> None:
        lbctl("backend", "drain", "b3")
        assert lbctl("backend", "remove", "b3") == (0, "- pool web, backend b3\n- backend b3\n", "")


class TestWeigh:
    def test_a_weight_is_changed(self, lbctl: Lbctl) -> None:
        assert lbctl("backend", "weigh", "b2", "5") == (0, "~ pool web, backend b2: weight 1 → 5\n", "")
        assert lbctl("backend", "weigh", "b2", "5")[1] == "nothing to change: it is so already\n"

    def test_a_weight_of_zero_is_bad_input(self, lbctl: Lbctl) -> None:
        status, _, err = lbctl("backend", "weigh", "b2", "0")
        assert status == 2
        assert "weight 0 is out of range" in err


class TestNodes:
    def test_waiting_ends_when_the_node_is_drained(
        self, lbctl: Lbctl, cluster: MemoryCluster, hours: Hours
    ) -> None:
        def state(word: str) -> None:
            live = replace(cluster.view.live_nodes[N2], state=word)
            cluster.view = replace(cluster.view, live_nodes={**cluster.view.live_nodes, N2: live})

        lbctl("node", "drain", "n2")
        state("draining")
        hours.events = [lambda: state("drained")]
        status, out, _ = lbctl("node", "drain", "n2", "--wait")
        assert status == 0
        assert out.splitlines()[1:] == ["drain n2: draining", "drain n2: drained"]

    def test_after_the_time_it_fails_with_a_remedy(
        self, lbctl: Lbctl, cluster: MemoryCluster, hours: Hours
    ) -> None:
        lbctl("node", "drain", "n2")
        live = replace(cluster.view.live_nodes[N2], state="draining")
        cluster.view = replace(cluster.view, live_nodes={**cluster.view.live_nodes, N2: live})
        status, _, err = lbctl("node", "drain", "n2", "--wait", "-t", "5s")
        assert status == 1
        assert "error: drain n2: draining after 5s" in err
        assert "BGP" in err

    def test_a_node_that_is_gone_carries_nothing(
        self, lbctl: Lbctl, cluster: MemoryCluster, hours: Hours
    ) -> None:
        lbctl("node", "drain", "n2")
        live = {name: node for name, node in cluster.view.live_nodes.items() if name != NodeName("n2")}
        cluster.view = replace(cluster.view, live_nodes=live)
        assert lbctl("node", "drain", "n2", "--wait")[0] == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-1s", "infh", "nan"])
def test_what_is_no_time_is_bad_input(lbctl: Lbctl, text: str) -> None:
    status, _, err = lbctl("backend", "drain", "b2", "--wait", "--timeout", text)
    assert status == 2
    assert "is no time" in err
