"""Epochs that a node must not use: it keeps its table, says so, and goes on by itself with the next good one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from lbnode.model.codec import encode
from lbnode.model.ids import BackendName, EpochNumber
from lbnode.model.requests import DrainBackend
from lbnode.model.status import Severity
from tests.integration.cable import eventually, ip
from tests.integration.nodes import WEB, NodeMachine, node_machine

AGREES = f'evenkeel_pool_table_agrees{{pool="{WEB}"}}'
IN_USE = f'evenkeel_pool_epoch{{pool="{WEB}"}}'
FLEET = {
    "fleet": "demo",
    "backends": [{"name": f"b{n}", "address": f"10.0.0.{10 + n}", "agent": False} for n in (1, 2, 3)],
    "pools": [{"name": WEB, "backends": ["b1", "b2", "b3"], "table_size": 251, "health": "off"}],
    "vips": [{"address": "192.0.2.10", "port": 80, "protocol": "tcp", "pool": WEB}],
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeMachine]:
    """A node that forwards by epoch 1 of a fleet without agents."""
    with node_machine(tmp_path) as machine:
        for number in (11, 12, 13):
            ip("-n", machine.cable.far, "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
        machine.start()
        machine.apply(FLEET)
        eventually("epoch 1 is in use", lambda: machine.status().agree and machine.pool().current == 1)
        yield machine


def alarms(node: NodeMachine) -> list[str]:
    problems = node.status().problems
    return [f"{each.subject}: {each.what}" for each in problems if each.severity is Severity.ALARM]


def complains(node: NodeMachine, words: str) -> Callable[[], bool]:
    return lambda: any(words in alarm for alarm in alarms(node))


def drain(node: NodeMachine, name: str) -> None:
    with node.client() as client:
        client.drain_backend(DrainBackend(BackendName(name), WEB))


def test_a_table_that_differs_is_not_used_and_told_in_status_metrics_and_log_until_a_good_one_comes(
    node: NodeMachine,
) -> None:
    """As if a leader of another build had written epoch 2."""
    first = node.epoch(1)
    node.offer(replace(first, number=EpochNumber(2), digest="5" * 32))
    eventually("an alarm", complains(node, "it keeps its old table"))
    assert (node.loaded().current, node.loaded().digest) == (1, first.digest)
    eventually("disagreement", lambda: not node.status().agree)
    assert any("5" * 12 in alarm and first.digest[:12] in alarm for alarm in alarms(node))
    eventually("the metric", lambda: node.metric(AGREES) == "0.0")
    assert node.metric(IN_USE) == "1.0"
    assert "table kept back" in node.log

    node.stop()
    node.start()
    eventually("the alarm again", complains(node, "it keeps its old table"))
    assert (node.loaded().current, node.loaded().digest) == (1, first.digest)

    drain(node, "b2")
    eventually("epoch 3 in use", lambda: node.loaded().current == 3 and node.status().agree)
    assert not complains(node, "digest")()
    eventually("the metric", lambda: node.metric(AGREES) == "1.0")
    assert "table problem is over" in node.log


def test_an_epoch_of_a_newer_release_or_another_fleet_changes_nothing_and_is_an_alarm(
    node: NodeMachine,
) -> None:
    second = replace(node.epoch(1), number=EpochNumber(2))
    for epoch, words in (
        (
            replace(second, fleet=UUID(int=9)),
            "an epoch of another fleet, 00000000-0000-0000-0000-000000000009",
        ),
        (replace(second, algorithm=7), "needs table algorithm 7, which this lbnode lacks: upgrade it"),
        (replace(second, key_id=9), "hashes with key 9, which the fleet does not have"),
    ):
        node.spoil(2, encode(epoch))
        eventually("an alarm", complains(node, words))
        assert node.loaded().current == 1


def test_a_damaged_epoch_is_put_back_by_who_has_read_it(node: NodeMachine) -> None:
    """While it is damaged and when it is put back, the table in the kernel stays the same."""
    first = node.epoch(1)
    for times, damaged in enumerate((encode(first)[:-20], b"\xff\x00{"), 1):
        node.spoil(1, damaged)
        eventually("the epoch is put back", lambda: node.log.count("epoch restored") == times)  # noqa: B023
        assert node.epoch(1) == first
    eventually("agreement", lambda: node.status().agree)
    assert node.log.count("table in use") == 1


def test_a_damaged_epoch_that_nobody_has_read_stops_changes_until_they_are_forced(node: NodeMachine) -> None:
    node.spoil(2, b"{")
    eventually("an alarm", complains(node, "epoch 2 cannot be read: nothing is changed; restore it"))
    drain(node, "b2")
    assert node.loaded().current == 1
    with node.client() as client:
        client.drain_backend(DrainBackend(BackendName("b2"), WEB, force=True))
    eventually("another epoch 2", lambda: node.loaded().current == 2 and node.status().agree)
    assert not complains(node, "cannot be read")()


@pytest.mark.parametrize("store_answers", [True, False])
def test_a_daemon_that_restarts_with_an_older_copy_on_disk_leaves_the_newer_table_in_the_kernel(
    node: NodeMachine, store_answers: bool
) -> None:
    """Killed before it wrote its copy."""
    copy, store = node.directory / "state", node.directory / "store"
    eventually("a copy of epoch 1", lambda: any(copy.rglob("*")))
    shutil.copytree(copy, node.directory / "older")
    drain(node, "b2")
    eventually("epoch 2 in use", lambda: node.loaded().current == 2)
    node.stop()
    shutil.rmtree(copy)
    shutil.move(node.directory / "older", copy)
    if not store_answers:
        store.rename(node.directory / "elsewhere")
        store.write_text("no directory")
    before = len(node.log)
    node.start()
    eventually("a pass", lambda: "vips in the kernel" in node.log[before:])
    assert node.kernel_epoch() == 2
    assert not [
        line for line in node.log[before:].splitlines() if "table in use" in line and "epoch=1" in line
    ]
    if not store_answers:
        store.unlink()
        (node.directory / "elsewhere").rename(store)
    eventually("epoch 2, by the store", lambda: node.status().agree and node.loaded().current == 2)
