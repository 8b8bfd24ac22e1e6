from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lbnode.cli.ctl import app
from lbnode.cli.render_flows import duration
from lbnode.model.flows import HeldChange, HeldChanges
from lbnode.model.ids import BackendName
from tests.unit.core.fleets import SIZE, WEB, fleet
from tests.unit.rpc.cluster import N1, N2, MemoryCluster

Lbctl = Callable[..., "tuple[int, str, str]"]


def trouble(cluster: MemoryCluster) -> None:
    """n2 is gone, and n1 has an alarm."""
    alarmed = replace(cluster.view.live_nodes[N1], alarms=("disk full",))
    cluster.view = replace(cluster.view, live_nodes={N1: alarmed})


class TestStatus:
    def test_a_fleet_that_is_well_says_so_first(self, lbctl: Lbctl) -> None:
        status, out, err = lbctl("status")
        assert (status, err) == (0, "")
        headline, problems, *rest = out.splitlines()
        assert headline.startswith("fleet demo · 2 of 2 nodes connected, all agree · leader n2 · seen by n1")
        assert problems == "no problems"
        shown = "\n".join(rest)
        for words in ("192.0.2.10:80/tcp", "n1, n2", "10.9.9.1 up", "eth0 native", "1m 30s", "web 1"):
            assert words in shown
        assert "pool web: epoch 1, 251 buckets, hash flow by multiply" in shown

    def test_backends_without_an_agent_say_what_that_means(self, lbctl: Lbctl) -> None:
        assert "stock gre, plain consistent-hashing guarantees" in lbctl("status")[1]

    def test_what_is_wrong_comes_before_everything_else(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        trouble(cluster)
        _, out, _ = lbctl("status")
        lines = out.splitlines()
        assert lines[1] == "ALARM    node n1: disk full"
        assert lines[2] == "ALARM    node n2: not connected"
        assert lines[3].startswith("           → there: systemctl status lbnode")
        assert out.index("ALARM") < out.index("NODE") < out.index("SLOT")

    def test_check_fails_only_while_there_is_an_alarm(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        assert lbctl("status", "--check")[0] == 0
        trouble(cluster)
        assert lbctl("status", "--check")[0] == 1
        assert lbctl("status")[0] == 0

    def test_json_says_everything_under_the_models_names(self, lbctl: Lbctl) -> None:
        status, out, _ = lbctl("status", "--json")
        assert status == 0
        document = json.loads(out)
        assert (document["fleet"], document["agree"], document["problems"]) == ("demo", True, [])
        assert [node["name"] for node in document["nodes"]] == ["n1", "n2"]
        assert document["nodes"][0]["pools"][0]["agrees"]
        assert document["vips"][0]["protocol"] == "tcp"
        (pool,) = document["pools"]
        assert sum(slot["buckets"] for slot in pool["slots"]) == SIZE
        assert sum(slot["share"] for slot in pool["slots"]) == pytest.approx(1, abs=1e-5)
        assert {slot["state"] for slot in pool["slots"]} == {"active"}

    def test_a_pipe_gets_plain_whole_lines(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        alarmed = replace(cluster.view.live_nodes[N1], alarms=("x" * 300,))
        cluster.view = replace(cluster.view, live_nodes={**cluster.view.live_nodes, N1: alarmed})
        _, out, _ = lbctl("status")
        assert "x" * 300 in out
        assert "\x1b" not in out

    def test_names_with_brackets_are_shown_as_they_are(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        alarmed = replace(cluster.view.live_nodes[N1], alarms=("pools[0]: [red]odd[/red]",))
        cluster.view = replace(cluster.view, live_nodes={**cluster.view.live_nodes, N1: alarmed})
        assert "ALARM    node n1: pools[0]: [red]odd[/red]" in lbctl("status")[1]

    def test_without_the_store_it_says_local_view(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        cluster.view = replace(cluster.view, connected=False)
        _, out, _ = lbctl("status")
        assert "local view of n1" in out.splitlines()[0]
        assert "ALARM    store: out of reach" in out.splitlines()[1]

    def test_what_is_held_is_said_with_for_whom_and_until_when(
        self, lbctl: Lbctl, cluster: MemoryCluster
    ) -> None:
        until = datetime(2026, 11, 23, 14, 5).timestamp()
        waits_for = {BackendName("b1"): 212, BackendName("b2"): None}
        change = HeldChange("drain b3", waits_for, until - 3600, until)
        cluster.view = replace(cluster.view, held={WEB: HeldChanges(WEB, (change,))})
        line = lbctl("status")[1].splitlines()[2]
        assert line == (
            "held     pool web: drain b3: waits for 212 flows on b1, flows on b2 (not counted yet), "
            "at most until 14:05"
        )
        (held,) = json.loads(lbctl("status", "--json")[1])["pools"][0]["held"]
        assert held["waits_for"] == {"b1": 212, "b2": None}

    def test_a_wait_beyond_a_day_says_the_date(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        until = datetime(2026, 11, 25, 14, 5).timestamp()
        change = HeldChange("drain b3", {BackendName("b1"): 1}, until - 2 * 86400, until)
        cluster.view = replace(cluster.view, held={WEB: HeldChanges(WEB, (change,))})
        assert "waits for 1 flow on b1, at most until 2026-11-25 14:05" in lbctl("status")[1]

    def test_the_weaker_promise_without_agents_is_said_unless_a_flow_table_keeps_it(
        self, lbctl: Lbctl, cluster: MemoryCluster
    ) -> None:
        assert "without agent: b1, b2, b3: plain consistent hashing; flows of buckets" in lbctl("status")[1]
        cluster.view = replace(cluster.view, desired=fleet("b1", "b2", "b3", flow_table=True))
        assert "the flow table keeps their flows through planned changes" in lbctl("status")[1]

    def test_the_window_and_draining_flows_are_shown(self, lbctl: Lbctl, cluster: MemoryCluster) -> None:
        cluster.join("b1", "b2", "b3")
        cluster.count(b2=212)
        lbctl("backend", "drain", "b2")
        out = lbctl("status")[1]
        assert "window 1h with" in out
        assert "draining (212 flows)" in out

    def test_watching_shows_it_again_and_again_until_interrupted(
        self, lbctl: Lbctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(time, "sleep", wait)
        status, out, _ = lbctl("status", "--watch")
        assert (status, out.count("fleet demo"), waits) == (0, 3, [1.0] * 3)

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0, "0s"), (59.9, "59s"), (125, "2m 5s"), (3600, "1h"), (273_906, "3d 4h")]
    )
    def test_times_are_short(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text


class TestLists:
    def test_nodes_are_listed_with_what_they_do(self, lbctl: Lbctl) -> None:
        lbctl("node", "drain", "n2")
        header, one, two = lbctl("node", "list")[1].splitlines()
        assert header.split()[:4] == ["NODE", "STATE", "VERSION", "UP"]
        assert one.split()[:3] == ["n1", "up", "0.1.0"]
        assert two.split()[:3] == ["n2", "*", "drained"]

    def test_backends_are_listed_by_pool_and_slot(self, lbctl: Lbctl) -> None:
        lbctl("backend", "drain", "b2")
        header, *rows = lbctl("backend", "list")[1].splitlines()
        assert header.split() == [
            "POOL",
            "SLOT",
            "BACKEND",
            "ID",
            "ADDRESS",
            "STATE",
            "WEIGHT",
            "SHARE",
            "AGENT",
        ]
        assert [row.split()[:6] for row in rows] == [
            ["web", "0", "b1", "1", "10.0.0.1", "active"],
            ["web", "1", "b2", "2", "10.0.0.2", "draining"],
            ["web", "2", "b3", "3", "10.0.0.3", "active"],
        ]
        assert "0.0 %" in rows[1]

    def test_an_empty_slot_is_shown_as_empty(self, lbctl: Lbctl) -> None:
        lbctl("backend", "remove", "b2", "--force")
        assert "(empty)" in lbctl("backend", "list")[1].splitlines()[2]


class TestTraffic:
    def test_packets_and_bytes_are_told_by_vip_pool_backend_and_outcome(self, lbctl: Lbctl) -> None:
        status, out, _ = lbctl("traffic")
        assert status == 0
        lines = [line.split() for line in out.splitlines()]
        assert ["192.0.2.10:80/tcp", "1,000", "100,000"] in lines
        assert ["web", "1,234", "123,400"] in lines
        assert ["b1", "1,234", "123,400"] in lines
        assert "drop_icmp" not in out

    def test_json_has_them_all(self, lbctl: Lbctl) -> None:
        found = json.loads(lbctl("traffic", "--json")[1])
        assert found["node"] == "n1"
        assert found["pools"] == {"web": {"packets": 1234, "bytes": 123400}}
        assert found["outcomes"]["drop_icmp"] == {"packets": 0, "bytes": 0}


class TestExplain:
    def test_a_flow_is_explained_step_by_step(self, lbctl: Lbctl) -> None:
        status, out, _ = lbctl("explain", "198.51.100.7:40000", "192.0.2.10:80/tcp")
        assert status == 0
        steps = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
        assert list(steps) == ["flow", "vip", "pool", "bucket", "home", "owner", "alternates", "key"]
        assert steps["flow"] == "198.51.100.7:40000 → 192.0.2.10:80/tcp"
        assert steps["vip"] == "192.0.2.10:80/tcp"
        assert steps["pool"] == "web, epoch 1 (stamp 1)"
        assert "of 251: multiply over the whole flow" in steps["bucket"]
        assert steps["home"].endswith(", active")
        assert steps["owner"] in steps["home"]
        assert (steps["alternates"], steps["key"]) == ("none", "none")

    def test_failover_is_said(self, lbctl: Lbctl) -> None:
        asked = ("explain", "198.51.100.7:40000", "192.0.2.10:80")
        home = lbctl(*asked)[1].split("owner")[1].split()[0]
        lbctl("backend", "drain", home)
        steps = lbctl(*asked)[1].splitlines()
        assert f"{home} (id" in steps[4]
        assert "draining" in steps[4]
        assert steps[5].endswith(": the failover order of this bucket")

    def test_json_has_the_same_answer(self, lbctl: Lbctl) -> None:
        found = json.loads(lbctl("explain", "198.51.100.7:40000", "192.0.2.10:80", "--json")[1])
        assert found["pool"] == "web"
        assert found["owner"] == found["home"]

    def test_what_is_no_vip_is_refused_with_those_that_are(self, lbctl: Lbctl) -> None:
        status, _, err = lbctl("explain", "198.51.100.7:40000", "192.0.2.10:80/udp")
        assert status == 1
        assert err == "error: no VIP 192.0.2.10:80/udp\n  hint: known: 192.0.2.10:80/tcp\n"

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("198.51.100.7", "192.0.2.10:80"), "'198.51.100.7' is no address and port"),
            (("198.51.100.7:0", "192.0.2.10:80"), "'198.51.100.7:0' is no address and port"),
            (("client:1", "192.0.2.10:80"), "'client' is not an IP address"),
            (("198.51.100.7:1", "192.0.2.10:99999"), "'192.0.2.10:99999' is no address and port"),
            (("198.51.100.7:1", "192.0.2.10:80/sctp"), "'sctp' is no protocol of VIPs"),
        ],
    )
    def test_what_is_no_flow_is_bad_input(self, lbctl: Lbctl, words: tuple[str, ...], message: str) -> None:
        status, _, err = lbctl("explain", *words)
        assert status == 2
        assert err.startswith(f"error: {message}\n  hint: write it like")


class TestReaching:
    def test_nobody_listening_is_its_own_exit_status_with_a_remedy(self, tmp_path: Path) -> None:
        address = f"unix:{tmp_path}/absent.sock"
        result = CliRunner().invoke(app, ["--node", address, "status"])
        assert result.exit_code == 3
        assert result.stderr == (
            f"error: no lbnode answers at {address}: is it running? systemctl status lbnode\n"
        )

    def test_a_fleet_without_its_store_refuses_changes_as_out_of_reach(
        self, lbctl: Lbctl, cluster: MemoryCluster
    ) -> None:
        cluster.view = replace(cluster.view, connected=False)
        status, _, err = lbctl("node", "drain", "n1")
        assert status == 3
        assert "cannot reach the fleet's store" in err
        assert N2 in cluster.view.nodes


class TestHelp:
    @pytest.mark.parametrize(
        "words",
        [
            (),
            ("status",),
            ("apply",),
            ("export",),
            ("explain",),
            ("traffic",),
            ("node", "drain"),
            ("backend", "add"),
            ("backend", "drain"),
            ("backend", "remove"),
            ("backend", "replace"),
            ("backend", "weigh"),
            ("plan",),
            ("rollout",),
            ("config", "check"),
        ],
    )
    def test_help_teaches_by_examples(self, words: tuple[str, ...]) -> None:
        result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*words, "--help"])
        assert result.exit_code == 0
        assert "Example" in result.stdout
        assert f"lbctl {' '.join(words)}".strip() in result.stdout

    def test_exit_statuses_are_documented(self) -> None:
        out = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"]).stdout
        assert "0 done · 1 refused or failed · 2 wrong usage or bad input · 3 no answer" in out

    def test_no_words_at_all_show_the_help(self) -> None:
        assert "Operate a fleet" in CliRunner().invoke(app, []).output

    def test_the_version_is_told(self) -> None:
        assert CliRunner().invoke(app, ["--version"]).stdout.startswith("lbctl ")

    def test_the_shell_can_complete_commands(self) -> None:
        asked = {"_LBCTL_COMPLETE": "complete_bash", "COMP_WORDS": "lbctl node ", "COMP_CWORD": "2"}
        result = CliRunner(env=asked).invoke(app, [], prog_name="lbctl")
        assert result.stdout.split() == ["list", "drain", "undrain", "remove"]

    def test_the_lab_is_part_of_it(self) -> None:
        assert CliRunner().invoke(app, ["lab", "--help"]).exit_code == 0
