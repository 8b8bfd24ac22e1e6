from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lbnode.cli.rollout_command import fill_in, start_command
from lbnode.cli.rollout_order import Target
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName
from tests.unit.core.fleets import WEB, current, fleet
from tests.unit.rpc.cluster import MemoryCluster

from .conftest import Hours

Lbctl = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def agents(cluster: MemoryCluster) -> MemoryCluster:
    """The cluster whose backends all have the agent and hold no flows once drained."""
    cluster.join("b1", "b2", "b3")
    cluster.count(b1=0, b2=0, b3=0)
    return cluster


def states(cluster: MemoryCluster) -> list[BackendState]:
    return [slot.state for slot in current(cluster.view).slots]


def test_each_backend_is_drained_restarted_and_put_back_in_slot_order(
    lbctl: Lbctl, agents: MemoryCluster, hours: Hours, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = f'echo {{name}} {{address}} "$EVENKEEL_BACKEND" "$EVENKEEL_ADDRESS" >> {log}'
    status, out, err = lbctl("rollout", "web", "--command", command)
    assert (status, err) == (0, "")
    assert log.read_text().splitlines() == [f"b{n} 10.0.0.{n} b{n} 10.0.0.{n}" for n in (1, 2, 3)]
    assert states(agents) == [BackendState.ACTIVE] * 3
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[1/3] b1", "[2/3] b2", "[3/3] b3"]
    assert lines[-1] == "rollout of web done: b1, b2, b3"
    numbers = sorted(agents.view.epochs[WEB])
    drained = [
        {
            slot.backend
            for slot in agents.view.epochs[WEB][number].slots
            if slot.state is BackendState.DRAINING
        }
        for number in numbers
    ]
    assert max(len(names) for names in drained) == 1


def test_in_batches_several_are_restarted_at_a_time(
    lbctl: Lbctl, agents: MemoryCluster, hours: Hours
) -> None:
    status, out, _ = lbctl("rollout", "web", "--command", "true", "--batch", "2")
    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("[")] == ["[1/2] b1, b2", "[2/2] b3"]


def test_a_dry_run_refuses_what_would_be_refused(lbctl: Lbctl, agents: MemoryCluster) -> None:
    status, out, err = lbctl("rollout", "web", "--dry-run", "--batch", "3")
    assert (status, out) == (2, "")
    assert "a batch of 3 would leave no active backend in pool web (3 active now)" in err


def test_a_dry_run_shows_the_order_and_changes_nothing(lbctl: Lbctl, agents: MemoryCluster) -> None:
    before = agents.view
    assert lbctl("rollout", "web", "--dry-run", "-n", "2") == (0, "1. b1, b2\n2. b3\n", "")
    assert lbctl("rollout", "web", "--dry-run", "--from", "b2") == (0, "1. b2\n2. b3\n", "")
    assert agents.view is before


def test_the_first_failure_stops_it_and_says_how_to_go_on(
    lbctl: Lbctl, agents: MemoryCluster, hours: Hours
) -> None:
    status, _, err = lbctl("rollout", "web", "--command", "test {name} != b2 || exit 7")
    assert status == 1
    assert err.splitlines() == [
        "error: rollout of web stopped: the command for b2 ended with status 7",
        "  done: b1; drained and not put back: b2; left to do: b2, b3",
        "  hint: go on with: lbctl rollout web --from b2 …; or put back: lbctl backend undrain b2",
    ]
    assert states(agents) == [BackendState.ACTIVE, BackendState.DRAINING, BackendState.ACTIVE]
    status, out, _ = lbctl("rollout", "web", "--command", "true", "--from", "b2")
    assert status == 0
    assert out.splitlines()[-1] == "rollout of web done: b2, b3"


def test_flows_that_do_not_end_stop_it(lbctl: Lbctl, agents: MemoryCluster, hours: Hours) -> None:
    agents.count(b2=9)
    status, _, err = lbctl("rollout", "web", "--command", "true", "--timeout", "1m")
    assert status == 1
    assert "stopped: drain b2: 9 flows left after 1m" in err


def test_a_command_that_never_ends_is_stopped() -> None:
    target = Target(BackendName("b1"), ip_address("10.0.0.1"), has_agent=True, drains=False)
    assert (
        start_command("exec sleep 60", target).finish(0.05) == "the command for b1 was stopped after 0.05 s"
    )


def test_braces_of_the_shell_stay_and_names_are_quoted() -> None:
    target = Target(BackendName("b 1"), ip_address("10.0.0.1"), has_agent=True, drains=False)
    text = fill_in("ssh {address} \"awk '{print}' ${HOME}\" {name}", target)
    assert text == "ssh 10.0.0.1 \"awk '{print}' ${HOME}\" 'b 1'"


def test_who_was_drained_before_is_left_alone(lbctl: Lbctl, agents: MemoryCluster, hours: Hours) -> None:
    lbctl("backend", "drain", "b2")
    status, out, _ = lbctl("rollout", "web", "--command", "true")
    assert status == 0
    assert "b2 drains already: left alone" in out
    assert states(agents)[1] is BackendState.DRAINING


def test_a_backend_that_does_not_come_back_healthy_stops_it(
    lbctl: Lbctl, agents: MemoryCluster, hours: Hours
) -> None:
    node = next(iter(agents.view.live_nodes))

    def fail_b1() -> None:
        failing = replace(agents.view.live_nodes[node], verdicts={WEB: {BackendName("b1"): False}})
        agents.view = replace(agents.view, live_nodes={**agents.view.live_nodes, node: failing})

    hours.events = [fail_b1]
    status, _, err = lbctl("rollout", "web", "--command", "true", "--timeout", "30s")
    assert status == 1
    assert "stopped: check b1: checks fail on n1 after 30s" in err


def test_replacements_come_from_a_file(
    lbctl: Lbctl, agents: MemoryCluster, hours: Hours, tmp_path: Path
) -> None:
    machines = tmp_path / "machines"
    machines.write_text("# old new address\nb3 b13 10.0.0.13\n\nb1 b11 10.0.0.11  # first\n")
    assert lbctl("rollout", "web", "--replace-with", str(machines), "--dry-run")[1] == (
        "1. b1 → b11 (10.0.0.11)\n2. b3 → b13 (10.0.0.13)\n"
    )
    status, out, err = lbctl("rollout", "web", "--replace-with", str(machines))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "rollout of web done: b1, b3"
    assert agents.view.desired is not None
    assert [member.backend for member in agents.view.desired.pools[0].members] == ["b11", "b2", "b13"]
    assert [member.slot for member in agents.view.desired.pools[0].members] == [0, None, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("wep",), "no pool is called 'wep'"),
        (("web", "--from", "b7"), "b7 is not in pool web"),
        (("web",), "nobody to ask and no command to run"),
        (("web", "-c", "true", "--batch", "3"), "a batch of 3 would leave no active backend in pool web"),
        (("web", "-c", "true", "--replace-with", "x"), "--command and --replace-with exclude each other"),
        (("web", "--replace-with", "/nonexistent"), "/nonexistent: cannot be read"),
        (("web", "-c", "true", "--timeout", "never"), "'never' is no time"),
    ],
)
def test_what_cannot_be_carried_through_is_refused_before_anything_is_touched(
    lbctl: Lbctl, agents: MemoryCluster, words: tuple[str, ...], message: str
) -> None:
    before = agents.view
    status, _, err = lbctl("rollout", *words)
    assert status in (1, 2)
    assert message in err
    assert agents.view is before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b1\n", ":1: 'b1' is not OLD NEW [ADDRESSES]"),
        ("b1 b11 10.0.0.11\nb1 b12 10.0.0.12\n", ":2: b1 is replaced already above"),
        ("b1 b11 here\n", "'here' is not an IP address"),
        ("b8 b11 10.0.0.11\n", "b8 is not in pool web"),
    ],
)
def test_a_bad_line_of_replacements_is_named(
    lbctl: Lbctl, agents: MemoryCluster, tmp_path: Path, text: str, message: str
) -> None:
    machines = tmp_path / "machines"
    machines.write_text(text)
    status, _, err = lbctl("rollout", "web", "--replace-with", str(machines))
    assert status == 2
    assert message in err
    assert agents.view.desired == fleet("b1", "b2", "b3")


def test_backends_without_agent_need_to_be_told_how_long_flows_live(
    lbctl: Lbctl, cluster: MemoryCluster, hours: Hours
) -> None:
    status, _, err = lbctl("rollout", "web", "--command", "true")
    assert status == 2
    assert "without agent nobody counts the flows of b1, b2, b3" in err
    status, out, _ = lbctl("rollout", "web", "--command", "true", "--grace", "1h")
    assert status == 0
    assert hours.at >= 3 * 3600
    assert "waiting 3600 s for flows that nobody counts" in out
