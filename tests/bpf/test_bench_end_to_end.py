"""The scenes of `make bench` that need a network: they run, and count what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.agent import (
    CLIENT,
    PORT,
    VIP,
    AgentDriver,
    filled,
    own_namespace,
    prove,
)
from tests.bench.clock import one_core
from tests.bench.contenders import CONTENDERS, ready
from tests.bench.end_to_end import STREAMS, Rate, compare, rates, take_turns
from tests.bench.road import RAW, Ends, Road
from tests.bench.sockets import established

PACKETS = 2048
FLOOD = STREAMS[-1]


@pytest.fixture(scope="module")
def ends() -> Ends:
    return Ends()


@pytest.fixture(autouse=True)
def core() -> Iterator[None]:
    with one_core():
        yield


def test_every_packet_of_every_contender_arrives_as_it_sends_them() -> None:
    lines = list(rates(PACKETS, rounds=1, core=nullcontext))
    found = {(line.contender, line.stream): line for line in lines if isinstance(line, Rate)}
    assert set(found) == {(name, stream) for name, each in CONTENDERS.items() for stream in each.streams}
    assert {(each.sent, each.arrived) for each in found.values()} == {(PACKETS, PACKETS)}
    assert all(each.mpps > 0 for each in found.values())
    assert len(lines) == len(found) + 5


def test_what_arrives_as_something_else_is_no_rate(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENDERS, "node", replace(CONTENDERS["node"], arrival=RAW))
    with ready(CONTENDERS["node"], ends) as road, pytest.raises(AssertionError, match="node, SYN flood"):
        take_turns({"node": road}, FLOOD, PACKETS, rounds=1)


def tracked(road: Road) -> int:
    with road.middle.entered():
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def test_each_packet_of_the_flood_is_a_new_flow_to_conntrack(ends: Ends) -> None:
    with ready(CONTENDERS["nftables DNAT"], ends) as road:
        for sent in (PACKETS, 2 * PACKETS):
            road.send(FLOOD, CONTENDERS["nftables DNAT"].arrival, PACKETS)
            assert tracked(road) == sent


def test_a_goal_is_reached_from_its_figure_on() -> None:
    mpps = {("node", "1 flow"): 8.0, ("node", "1k flows"): 7.5, ("node", "1M flows"): 7.0}
    others = {("nftables DNAT", "1k flows"): 1.5, ("kernel forwarding", "1k flows"): 2.5}
    one_arm = {(f"{name}, one arm", stream): rate for (name, stream), rate in {**mpps, **others}.items()}
    found = {each.what: each for each in compare({**mpps, **others, **one_arm})}
    assert found["node over kernel forwarding, 1k flows"].is_reached
    missed = [
        found["node over nftables DNAT, one arm, 1k flows"],
        found["node, 1M flows, over its best rate"],
    ]
    assert not any(each.is_reached for each in missed)
    assert all(each.row.endswith("MISSED") for each in missed)


def test_packets_at_the_agent_come_to_the_outcome_that_is_measured() -> None:
    with own_namespace():
        driver = AgentDriver()
        with filled(second_chance=False) as plane:
            prove(driver, plane, 16, "delivered_no_chance", PACKETS)
        with filled() as plane, established(VIP, PORT, CLIENT, 16):
            prove(driver, plane, 16, "delivered_in_sync", PACKETS)
            prove(driver, plane, 16, "delivered_held", PACKETS)
            with pytest.raises(AssertionError, match="1024 of 2048 packets changed length"):
                prove(driver, plane, 32, "delivered_held", PACKETS)


def test_one_section_prints_its_lines_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", "admission", "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert {json.loads(line)["what"] for line in ended.stdout.splitlines()} == {"admission"}
