"""The churn drill, short: everything happens at once and no flow breaks; without second chances many do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbnode.lab.report import Verdict
from tests.e2e.conftest import lbctl

SHORT = ("--flows", "200", "--pace", "2", "--longest", "12", "--seed", "4", "--json")
KINDS = (
    "drain node",
    "kill node daemon",
    "start node from an old epoch",
    "add backend",
    "drain backend",
    "change weight",
    "kill agent",
    "fail backend",
)
"""Without those that take long for themselves: `make drill` has them all."""


def drill(name: str, *options: str) -> dict[str, Any]:
    ended = lbctl("lab", "drill", "churn", "--name", name, *SHORT, *options)
    assert ended.returncode in set(Verdict), ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert report["verdict"] == Verdict(ended.returncode).name.lower()
    return report


@pytest.mark.timeout(240)
def test_no_flow_breaks_when_nodes_and_backends_change_together(name: str) -> None:
    report = drill(name, "--events", "8", *(word for kind in KINDS for word in ("--only", kind)))

    assert report["broken_flows"] == []
    assert len(report["events"]) == 8
    assert [event for event in report["events"] if "failed" in event] == []
    assert report["flows"] > 400
    assert report["changed_node"] > 0.1
    assert report["changed_owner"] > 0.1
    assert sum(report["second_chances"].values()) > 0
    assert report["isolated"]["share"] > 0.1


@pytest.mark.timeout(180)
def test_without_second_chances_a_drain_breaks_flows(name: str) -> None:
    report = drill(name, "--events", "1", "--only", "drain backend", "--second-chance", "off")

    assert report["verdict"] == "broken"
    assert report["reasons"]["reset"] > 10
    assert sum(report["second_chances"].values()) == 0
