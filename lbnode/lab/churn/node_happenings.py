"""What can happen to nodes and to the fleet's memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from lbnode.lab import assembly, configs, network, processes, zookeeper
from lbnode.lab.churn.schedule import Planned
from lbnode.lab.churn.stage import Stage, Steps, pause, until
from lbnode.lab.plan import Role
from lbnode.lab.shell import call_inside, inside, run
from lbnode.model.ids import NodeName
from lbnode.model.requests import DrainNode, UndrainNode

CARRIES_S = 45.0
LEAVES_S = 15.0
NEWER_EPOCH_S = 20.0
LEADER_S = 30.0
SERVES_S = 20.0


def add_node(stage: Stage, planned: Planned) -> Steps:
    """One more node joins."""
    (name,) = planned.targets
    stage.lab.record = assembly.add_node(stage.lab.record)
    yield from until(lambda: stage.carries(name), CARRIES_S, f"{name} to carry traffic")


def drain_node(stage: Stage, planned: Planned) -> Steps:
    """A node leaves in good order, and comes back."""
    (name,) = planned.targets
    node = NodeName(name)
    yield from stage.tell(lambda client: client.drain_node(DrainNode(node)))
    yield from until(lambda: not stage.carries(name), LEAVES_S, f"{name} to leave the routes")
    yield from pause(planned.hold_s)
    yield from stage.tell(lambda client: client.undrain_node(UndrainNode(node)))
    yield from until(lambda: stage.carries(name), CARRIES_S, f"{name} to carry traffic again")


def kill_node(stage: Stage, planned: Planned) -> Steps:
    """A node's daemon gets SIGKILL; its kernel goes on, and another daemon takes over."""
    (name,) = planned.targets
    yield from _restart(stage, planned, name)


def kill_leader(stage: Stage, planned: Planned) -> Steps:
    """The daemon that leads the fleet gets SIGKILL: another node leads on."""

    def can_be_killed() -> bool:
        leader = stage.leader()
        return leader is not None and leader not in stage.away

    yield from until(can_be_killed, LEADER_S, "a leader to be there")
    leader = stage.leader()
    assert leader is not None
    yield from _restart(stage, planned, leader)


def cut_node(stage: Stage, planned: Planned) -> Steps:
    """A node falls silent, as if its machine had died, and comes back."""
    (name,) = planned.targets
    node = stage.host(name)
    with stage.without(name, forwards=False):
        network.unplug(stage.lab.plan, node)
        try:
            yield from until(lambda: not stage.carries(name), LEAVES_S, f"{name} to leave the routes")
            yield from pause(planned.hold_s)
        finally:
            network.plug(stage.lab.plan, node)
        yield from until(lambda: stage.carries(name), CARRIES_S, f"{name} to carry traffic again")


def start_from_old_epoch(stage: Stage, planned: Planned) -> Steps:
    """A node's machine starts anew: its kernel remembers nothing, its disk an epoch that is old by then."""
    (name,) = planned.targets
    node = stage.host(name)
    with stage.without(name):
        stage.kill(name)
        processes.kill_all(stage.lab.exabgp(node))
        yield from until(lambda: not stage.carries(name), LEAVES_S, f"{name} to leave the routes")
        config = stage.lab.directory(name) / "config.yaml"
        lbnode = str(Path(sys.executable).with_name("lbnode"))
        run(inside(node.namespace, [lbnode, "unload", "--config", str(config)]))
        before = stage.current_epoch
        yield from pause(planned.hold_s)
        for _ in _at_most(lambda: stage.current_epoch > before, NEWER_EPOCH_S):
            yield
        stage.lab.record = assembly.start_node(stage.lab.record, node)
        yield from until(lambda: stage.carries(name), CARRIES_S, f"{name} to carry traffic again")


def restart_store(stage: Stage, planned: Planned) -> Steps:
    """ZooKeeper is away for some seconds: nothing may depend on it."""
    (host,) = stage.lab.plan.of(Role.STORE)
    stage.kill(host.name)
    yield from pause(planned.hold_s)
    stage.lab.record = assembly.start_store(stage.lab.record, host)
    address = str(host.address)

    def serves() -> bool:
        return call_inside(
            host.namespace, lambda: zookeeper.is_ready(address, configs.ZOOKEEPER_PORT, timeout_s=0.3)
        )

    yield from until(serves, SERVES_S, "ZooKeeper to serve")


def _restart(stage: Stage, planned: Planned, name: str) -> Steps:
    with stage.without(name):
        stage.kill(name)
        yield from pause(planned.hold_s)
        stage.lab.record = assembly.start_node(stage.lab.record, stage.host(name))
        yield from until(lambda: stage.is_connected(name), CARRIES_S, f"{name} to be connected")


def _at_most(true: Callable[[], bool], seconds: float) -> Steps:
    """Wait until `true()` holds, but not longer than so many seconds."""
    for _ in pause(seconds):
        if true():
            return
        yield
