"""`lbctl lab …` as its user types it."""

from __future__ import annotations

import json

from lbnode.lab.plan import VIP
from lbnode.lab.running import RunningLab
from tests.e2e.conftest import lbctl


def test_exec_runs_a_command_on_a_host(lab: RunningLab) -> None:
    ended = lbctl("lab", "exec", "--name", lab.plan.lab, "client", "--", "curl", "-sS", f"http://{VIP}/")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() in {"b1", "b2", "b3", "b4"}


def test_exec_needs_no_dashes_for_simple_commands(lab: RunningLab) -> None:
    ended = lbctl(
        "lab", "exec", "--name", lab.plan.lab, "router", "ip", "-br", "addr", "show", "dev", "nodes"
    )

    assert "10.72.0.1/24" in ended.stdout, ended.stderr


def test_exec_passes_the_exit_status_on(lab: RunningLab) -> None:
    assert lbctl("lab", "exec", "--name", lab.plan.lab, "n1", "--", "sh", "-c", "exit 42").returncode == 42


def test_exec_on_an_unknown_host_names_those_there_are(lab: RunningLab) -> None:
    ended = lbctl("lab", "exec", "--name", lab.plan.lab, "n9", "--", "true")

    assert ended.returncode == 3
    assert "no host 'n9'" in ended.stderr
    assert "client1" in ended.stderr


def test_a_lab_that_is_not_up_is_refused_with_the_way_to_get_it() -> None:
    ended = lbctl("lab", "exec", "--name", "nowhere", "n1", "--", "true")

    assert ended.returncode == 3
    assert "lab nowhere: not up: lbctl lab up --name nowhere" in ended.stderr


def test_a_lab_that_is_up_is_not_built_again(lab: RunningLab) -> None:
    ended = lbctl("lab", "up", "--name", lab.plan.lab)

    assert ended.returncode == 3
    assert "it is up already" in ended.stderr
    assert lab.next_hops()


def test_list_shows_the_lab(lab: RunningLab) -> None:
    listed = json.loads(lbctl("lab", "list", "--json").stdout)

    assert {
        "lab": lab.plan.lab,
        "state": "up",
        "nodes": 3,
        "backends": 4,
        "clients": 1,
        "store": "zookeeper",
    } in listed


def test_taking_apart_what_is_not_there_is_fine() -> None:
    ended = lbctl("lab", "down", "--name", "nowhere")

    assert (ended.returncode, ended.stdout) == (0, "lab nowhere: was not there\n")
