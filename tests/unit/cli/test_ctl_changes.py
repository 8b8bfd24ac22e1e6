from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from lbnode.cli.render_forecast import print_forecast
from lbnode.model.forecast import Broken, Forecast, HeldBack, PoolForecast, Share
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.settings.fleet import read_fleet
from lbnode.settings.fleet_text import write_fleet
from tests.unit.core.fleets import fleet
from tests.unit.rpc.cluster import MemoryCluster

Lbctl = Callable[..., "tuple[int, str, str]"]
WEB = PoolName("web")


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    """A fleet.yaml without b3."""
    path = tmp_path / "fleet.yaml"
    path.write_text(write_fleet(fleet("b1", "b2")))
    return path


class TestApply:
    def test_it_shows_the_difference_and_applies_it(
        self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path
    ) -> None:
        status, out, err = lbctl("apply", "-f", str(smaller))
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            "- backend b3",
            "- pool web, backend b3",
            "warning: backend b3 leaves pool web without a drain: its flows break when it stops; "
            "first: lbctl backend drain b3 --pool web --wait",
            "applied; what would break flows waits: lbctl status says for whom",
        ]
        assert cluster.view.desired == fleet("b1", "b2")

    def test_a_dry_run_changes_nothing(self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path) -> None:
        status, out, _ = lbctl("apply", "-f", str(smaller), "--dry-run")
        assert status == 0
        assert "- backend b3" in out
        assert out.endswith("dry run: nothing was changed\n")
        assert cluster.view.desired == fleet("b1", "b2", "b3")

    def test_applying_twice_has_nothing_to_change(self, lbctl: Lbctl, smaller: Path) -> None:
        lbctl("apply", "-f", str(smaller))
        assert lbctl("apply", "-f", str(smaller)) == (0, "nothing to change\n", "")

    def test_standard_input_is_a_file_too(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        status, _, _ = lbctl("apply", "-f", "-", stdin=write_fleet(fleet("b1")))
        assert status == 0
        assert cluster.view.desired == fleet("b1")

    def test_what_was_exported_can_be_applied(self, lbctl: Lbctl) -> None:
        status, text, _ = lbctl("export")
        assert status == 0
        assert read_fleet(text) == fleet("b1", "b2", "b3")
        assert lbctl("apply", "-f", "-", stdin=text)[1] == "nothing to change\n"

    def test_a_bad_file_changes_nothing_and_every_problem_is_said(
        self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path
    ) -> None:
        smaller.write_text(smaller.read_text().replace("10.0.0.1", "10.0.0.x").replace("port: 80", "port: 0"))
        status, out, err = lbctl("apply", "-f", str(smaller))
        assert (status, out) == (2, "")
        assert "fleet.yaml:3: backends[0].address: '10.0.0.x' is not an IP address" in err
        assert "vips[0].port: 0 is out of range; use 1..65535" in err
        assert "cannot be used, it has 2 problems; nothing was changed" in err
        assert cluster.view.desired == fleet("b1", "b2", "b3")

    def test_a_change_of_what_is_fixed_is_refused_with_the_remedy(
        self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path
    ) -> None:
        smaller.write_text(smaller.read_text().replace("table_size: 251", "table_size: 509"))
        status, _, err = lbctl("apply", "-f", str(smaller))
        assert status == 2
        assert "error: pool web: table_size 251 → 509: it is fixed for a pool's life" in err
        assert "hint: make a new pool with another name" in err
        assert cluster.view.desired == fleet("b1", "b2", "b3")

    def test_a_file_that_is_not_there_is_named(self, lbctl: Lbctl, tmp_path: Path) -> None:
        status, _, err = lbctl("apply", "-f", str(tmp_path / "absent.yaml"))
        assert status == 2
        assert "absent.yaml: cannot be read: No such file or directory" in err

    def test_apply_without_a_file_is_wrong_usage(self, lbctl: Lbctl) -> None:
        assert lbctl("apply")[0] == 2

    def test_force_lets_go_of_what_is_held_even_without_a_difference(
        self, lbctl: Lbctl, cluster: MemoryCluster
    ) -> None:
        text = lbctl("export")[1]
        assert lbctl("apply", "-f", "-", "--force", stdin=text) == (0, "applied\n", "")
        assert cluster.view.intents.forced == {WEB: 1}


class TestPlan:
    def test_it_says_what_becomes_of_the_flows_and_changes_nothing(
        self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path
    ) -> None:
        before = cluster.view
        status, out, err = lbctl("plan", "-f", str(smaller))
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[:2] == ["- backend b3", "- pool web, backend b3"]
        assert lines[3].startswith("pool web: 83 of 251 buckets move (33.1 %)")
        assert "  b3: 33.1 % → 0.0 %, loses 83 buckets" in lines
        assert any(line.startswith("  second chances: unknown: no agent has answered") for line in lines)
        assert lines[-1] == (
            "  breaks: an unknown number of flows on b3: their buckets go to a backend without agent, "
            "which cannot pass them on"
        )
        assert cluster.view is before

    def test_json_is_for_programs(self, lbctl: Lbctl, smaller: Path) -> None:
        (pool,) = json.loads(lbctl("plan", "-f", str(smaller), "--json")[1])["pools"]
        assert (pool["pool"], pool["moved"], pool["table_size"]) == ("web", 83, 251)
        assert sum(share["lost"] for share in pool["shares"]) == pool["moved"]

    def test_with_agents_nothing_breaks(self, lbctl: Lbctl, cluster: MemoryCluster, smaller: Path) -> None:
        cluster.join("b1", "b2", "b3")
        assert "breaks" not in lbctl("plan", "-f", str(smaller))[1]

    def test_the_same_fleet_changes_nothing(self, lbctl: Lbctl) -> None:
        _, out, _ = lbctl("plan", "-f", "-", stdin=lbctl("export")[1])
        assert out == "nothing to change\npool web: 0 of 251 buckets move (0.0 %)\n"

    def test_what_is_held_and_what_force_breaks_is_said(self, cluster: MemoryCluster) -> None:
        pool = PoolForecast(
            WEB,
            100,
            30,
            (Share(BackendName("b1"), 50, 20, 0, 30),),
            second_chances=1,
            held=(HeldBack("drain b3", {BackendName("b1"): 212}),),
            broken_by_force=(Broken(BackendName("b1"), 212, "pushed out"),),
        )
        console = Console(width=200, record=True, file=StringIO())
        print_forecast(console, Forecast(1, (), (), (pool,)))
        assert console.export_text().splitlines()[1:] == [
            "pool web: 30 of 100 buckets move (30.0 %)",
            "  b1: 50.0 % → 20.0 %, loses 30 buckets",
            "  second chances: 1 flow will reach their backend by way of another one",
            "  held: drain b3: would wait for 212 flows on b1",
            "  breaks with --force: 212 flows on b1: pushed out",
        ]

    def test_a_bad_file_and_a_refused_one_are_errors(self, lbctl: Lbctl, smaller: Path) -> None:
        smaller.write_text(smaller.read_text().replace("table_size: 251", "table_size: 509"))
        status, _, err = lbctl("plan", "-f", str(smaller))
        assert status == 2
        assert "table_size 251 → 509" in err
        smaller.write_text("fleet: demo\npolls: []\n")
        assert lbctl("plan", "-f", str(smaller))[0] == 2


class TestConfigCheck:
    def test_a_good_file_is_summed_up(self, lbctl: Lbctl, smaller: Path) -> None:
        status, out, _ = lbctl("config", "check", "-f", str(smaller))
        assert (status, out) == (0, f"{smaller}: good: fleet demo with 2 backends, 1 pool, 1 VIP\n")

    def test_a_bad_file_is_not(self, lbctl: Lbctl, smaller: Path) -> None:
        smaller.write_text("fleet: demo\npolls: []\n")
        status, out, err = lbctl("config", "check", "-f", str(smaller))
        assert (status, out) == (2, "")
        assert err.startswith("fleet.yaml:2: polls: unknown key; did you mean 'pools'?\n")


class TestNodes:
    def test_drain_and_undrain(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        assert lbctl("node", "drain", "n1") == (0, "~ node n1: serving → drained\n", "")
        assert cluster.view.intents.drained_nodes == (NodeName("n1"),)
        assert lbctl("node", "drain", "n1")[1] == "nothing to change: it is so already\n"
        assert lbctl("node", "undrain", "n1") == (0, "~ node n1: drained → serving\n", "")

    def test_the_last_serving_node_needs_force(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        lbctl("node", "drain", "n1")
        status, out, err = lbctl("node", "drain", "n2")
        assert (status, out) == (1, "")
        assert "error: n2 is the last connected node" in err
        assert "hint: bring up or undrain another node first, or repeat with --force" in err
        assert lbctl("node", "drain", "n2", "--force")[0] == 0
        assert len(cluster.view.intents.drained_nodes) == 2

    def test_a_removed_node_is_no_member_any_more(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        assert lbctl("node", "remove", "n2")[0] == 1
        assert lbctl("node", "remove", "n2", "--force") == (0, "- node n2\n", "")
        assert set(cluster.view.nodes) == {"n1"}

    def test_an_unknown_node_is_an_error_with_the_closest_name(self, lbctl: Lbctl) -> None:
        status, _, err = lbctl("node", "drain", "n11")
        assert status == 1
        assert "error: no node is called 'n11'" in err
        assert "did you mean" in err


class TestBackends:
    def test_a_backend_comes_drains_and_goes(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        assert lbctl("backend", "add", "b4", "10.0.0.4", "--pool", "web", "--weight", "2")[0] == 0
        assert cluster.view.backends[BackendName("b4")].id == 4
        assert lbctl("backend", "drain", "b4")[1] == "~ pool web, backend b4: active → draining\n"
        assert cluster.view.intents.drained_backends == {WEB: (BackendName("b4"),)}
        assert lbctl("backend", "undrain", "b4", "--pool", "web")[0] == 0
        assert lbctl("backend", "remove", "b4")[0] == 1
        assert lbctl("backend", "remove", "b4", "--force")[1] == "- pool web, backend b4\n- backend b4\n"
        assert cluster.view.desired == fleet("b1", "b2", "b3")

    def test_the_last_active_backend_needs_force(self, lbctl: Lbctl) -> None:
        lbctl("backend", "drain", "b1")
        lbctl("backend", "drain", "b2")
        status, _, err = lbctl("backend", "drain", "b3", "--pool", "web")
        assert status == 1
        assert "last active backend of pool web" in err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("b4", "10.0.0.x", "-p", "web"), "'10.0.0.x' is not an IP address"),
            (("b4", "127.0.0.1", "-p", "web"), "address 127.0.0.1 is a loopback address"),
            (("b4", "10.0.0.1", "-p", "web"), "address 10.0.0.1 is that of backend b1"),
            (("b4", "-p", "web"), "b4 is new to the fleet"),
            (("b4", "10.0.0.4", "-p", "web", "-w", "70000"), "weight 70000 is out of range; use 1..65535"),
            (("b4", "10.0.0.4"), "Missing option"),
        ],
    )
    def test_a_bad_addition_is_bad_input(
        self, lbctl: Lbctl, cluster: MemoryCluster, words: tuple[str, ...], message: str
    ) -> None:
        status, out, err = lbctl("backend", "add", *words)
        assert (status, out) == (2, "")
        assert message in " ".join(err.split())
        assert cluster.view.desired == fleet("b1", "b2", "b3")

    def test_an_unknown_pool_is_refused(self, lbctl: Lbctl) -> None:
        status, _, err = lbctl("backend", "add", "b4", "10.0.0.4", "-p", "wep")
        assert status == 1
        assert "did you mean 'web'?" in err
