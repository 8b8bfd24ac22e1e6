"""What is wrong with a fleet, the worst first, each with what an operator can do about it.

Decides what counts as an alarm (traffic or safety is at stake now) and what as a warning (it may be soon).
A state that an operator asked for, such as a drain, is no problem.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.core.forwarding import find_pool
from lbnode.core.joining import is_reachable, wanted_fleet
from lbnode.core.leader import missing_acknowledgements
from lbnode.core.registration import awaited_agents
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import Join
from lbnode.model.members import View
from lbnode.model.status import (
    AgentState,
    FleetStatus,
    NodeStatus,
    PoolStatus,
    Problem,
    Severity,
    SlotStatus,
    VipStatus,
)
from lbnode.model.tunnel import describe
from lbnode.model.view import FleetView

UP = "up"
NATIVE = "native"
GENERIC_BY_WISH = "generic: asked for"
DIGEST = "digest"
"""The word by which disagreement on a table's bytes is told from being late."""


def find_problems(view: FleetView, status: FleetStatus, trouble: str = "") -> tuple[Problem, ...]:
    """Return every problem that shows in `status` (its own `problems` aside) and in the records behind it.

    `trouble`: what is wrong with the store, if it is more than that it is out of reach.

    Alarms come first, and of them those of nodes whose tables differ: there flows may go two ways.
    """
    found = [
        *_digest_problems(status),
        *_fleet_problems(view, status, trouble),
        *(problem for vip in status.vips for problem in _vip_problems(status, vip)),
        *(problem for pool in status.pools for problem in _pool_problems(view, pool)),
        *(problem for pool in status.pools for problem in _successor_problems(view, pool)),
        *(problem for pool in status.pools for problem in _straggler_problems(status, pool)),
        *(problem for node in status.nodes for problem in _node_problems(status, node)),
        *_agent_problems(view),
        *_joiner_problems(view),
    ]
    return tuple(sorted(found, key=lambda problem: problem.severity is not Severity.ALARM))


def _alarm(subject: str, what: str, remedy: str = "") -> Problem:
    return Problem(Severity.ALARM, subject, what, remedy)


def _warning(subject: str, what: str, remedy: str = "") -> Problem:
    return Problem(Severity.WARNING, subject, what, remedy)


def _digest_problems(status: FleetStatus) -> Iterator[Problem]:
    """Nodes whose table differs from the fleet's, in the kernel or refused before it got there."""
    for line in status.disagreements if status.view is View.FLEET else ():
        if DIGEST in line:
            yield _alarm(
                "agreement", line, "on that node: journalctl -u lbnode; all must run the same release"
            )
    for node in status.nodes:
        for pool in node.pools:
            if DIGEST in pool.problem and node.connected:
                yield _alarm(
                    f"node {node.name}, pool {pool.pool}",
                    f"{pool.problem}; it keeps its old table",
                    "on that node: journalctl -u lbnode; all must run the same release",
                )


def _fleet_problems(view: FleetView, status: FleetStatus, trouble: str) -> Iterator[Problem]:
    if status.view is View.LOCAL:
        yield _alarm(
            "store",
            f"{trouble or 'out of reach'}; this is the local view of {status.answered_by}, by the last epochs that it "
            "knew",
            "bring the store back, or ask another node: lbctl --node ADDRESS status",
        )
    elif status.leader is None:
        yield _alarm(
            "leader", "none elected: nothing changes, not even for failures", "check the nodes' logs"
        )
    for record in status.corrupt:
        yield _alarm("store", f"corrupt record {record}", "restore it; who has read it before goes by that")
    if view.desired is None:
        yield _warning("fleet", "nothing has been applied yet", "lbctl apply -f fleet.yaml")
    for line in status.disagreements if status.view is View.FLEET else ():
        if DIGEST not in line:
            yield _alarm("agreement", line, "if it lasts, see that node's log")


def _vip_problems(status: FleetStatus, vip: VipStatus) -> Iterator[Problem]:
    if status.view is View.LOCAL:
        return
    subject = f"vip {vip.key}"
    expected = [node.name for node in status.nodes if node.connected and not node.drained]
    missing = [name for name in expected if name not in vip.announced_by]
    if not vip.announced_by:
        yield _alarm(
            subject, "announced by no node: clients cannot reach it", "see the nodes and pools below"
        )
    elif missing:
        yield _warning(subject, f"not announced by {', '.join(missing)}")


def _pool_problems(view: FleetView, pool: PoolStatus) -> Iterator[Problem]:
    subject = f"pool {pool.name}"
    if pool.current is None:
        yield _no_epoch(view, pool)
    elif not any(_serves(slot) for slot in pool.slots):
        yield _alarm(subject, "has no active backend: new flows go nowhere", "lbctl backend list")
    newest = view.newest(pool.name)
    if pool.offered is not None and newest is not None:
        waiting = ", ".join(missing_acknowledgements(view, newest).names)
        yield _warning(
            subject, f"epoch {pool.offered} is on offer" + (f", waits for {waiting}" if waiting else "")
        )
    awaited = awaited_agents(view)
    for slot in pool.slots:
        yield from _slot_problems(view, subject, slot)
        if view.connected and slot.id in awaited and slot.state is BackendState.FAILED:
            yield _warning(
                f"{subject}, backend {slot.backend}",
                "gets no flows before its agent is connected",
                f"start lbbackend on {slot.address}; for a stock gre device: `agent: false` in fleet.yaml",
            )


def _successor_problems(view: FleetView, pool: PoolStatus) -> Iterator[Problem]:
    """Backends that are to take over an occupied slot, and are not up."""
    wanted = find_pool(wanted_fleet(view), pool.name)
    seated = {slot.number: slot for slot in pool.slots if slot.backend is not None}
    sitting = {slot.backend for slot in seated.values()}
    awaited = awaited_agents(view)
    for member in wanted.members if wanted is not None and view.connected else ():
        known = view.backends.get(member.backend)
        occupied = seated.get(member.slot) if member.slot is not None else None
        if known is None or occupied is None or member.backend in sitting:
            continue
        failing = view.failing_on(pool.name, member.backend)
        why = [f"checks fail on {', '.join(failing)}"] if failing else []
        why += ["its agent is not connected"] if known.id in awaited else []
        if why:
            yield _warning(
                f"pool {pool.name}, slot {occupied.number}",
                f"{member.backend} is to take over from {occupied.backend} and is not up: {' and '.join(why)}",
                f"check {member.backend} ({describe(known.addresses)}), or let another take over: "
                f"lbctl backend replace {member.backend} --with BACKEND --force",
            )


def _no_epoch(view: FleetView, pool: PoolStatus) -> Problem:
    wanted = find_pool(wanted_fleet(view), pool.name)
    if wanted is not None and wanted.join is Join.AUTO and not wanted.members:
        remedy = f"start one, with `join: [{pool.name}]` in its settings"
        return _alarm(f"pool {pool.name}", "no backend has joined yet: its VIPs are not served", remedy)
    return _alarm(f"pool {pool.name}", "has no epoch yet: its VIPs are not served")


def _straggler_problems(status: FleetStatus, pool: PoolStatus) -> Iterator[Problem]:
    """Nodes by whose epoch backends get new flows that should get none: a drain or a held change may wait for long."""
    draining = {slot.backend for slot in pool.slots if slot.state is BackendState.DRAINING}
    left = {former.backend for former in pool.former if former.state is BackendState.DRAINING}
    waited_for = {name for held in pool.held for name in held.waits_for}
    busy = ", ".join(sorted(name for name in draining | left | waited_for if name is not None))
    if not busy:
        return
    gone = {node.name: node.gone_s for node in status.nodes if not node.connected}
    for name, why in pool.behind.items():
        since, remedy = "", "see that node's alarms: all must run the same release"
        if name in gone:
            gone_s = gone[name]
            since = f" (cut off from the store{'' if gone_s is None else f' for {gone_s:.0f} s'})"
            remedy = f"bring its way to the store back, or stop it; gone for good: lbctl node remove {name}"
        what = f"{name} {why}{since}: while it runs, it still gives new flows to {busy}"
        yield _warning(f"pool {pool.name}", what, remedy)


def _slot_problems(view: FleetView, pool: str, slot: SlotStatus) -> Iterator[Problem]:
    if slot.backend is None:
        return
    subject = f"{pool}, backend {slot.backend}"
    where = f" (checks fail on {', '.join(slot.failing_on)})" if slot.failing_on else ""
    if slot.state is BackendState.FAILED:
        yield _warning(subject, f"failed{where}", f"check the service on {slot.backend} ({slot.address})")
    elif where:
        yield _warning(subject, f"{slot.state.value}, but failing{where}")
    for vip, reason in sorted(slot.no_second_chance.items()):
        yield _warning(
            subject,
            f"no second chance for {vip}: {reason}",
            "flows that move away from it break: run the service in the agent's network namespace",
        )
    agent = view.agents.get(slot.backend)
    if agent is not None and slot.address is not None and slot.address not in agent.addresses:
        yield _alarm(
            subject,
            f"packets go to {slot.address}, where its agent takes none: it is at {describe(agent.addresses)}",
            "make `address` of its settings and of fleet.yaml the same",
        )
    if slot.agent is AgentState.SILENT:
        yield _warning(
            subject,
            "its agent is not connected: nodes and backends that are new do not reach it",
            f"on that machine: systemctl status lbbackend; before you add any: lbctl backend drain {slot.backend}",
        )


def _serves(slot: SlotStatus) -> bool:
    return slot.id is not None and slot.state is BackendState.ACTIVE


def _node_problems(status: FleetStatus, node: NodeStatus) -> Iterator[Problem]:
    subject = f"node {node.name}"
    if not node.connected:
        if status.view is View.FLEET and not node.drained:
            remedy = f"there: systemctl status lbnode; if it is gone for good: lbctl node remove {node.name}"
            yield _alarm(subject, "not connected", remedy)
        return
    for alarm in node.alarms:
        yield _alarm(subject, alarm)
    for pool in node.pools:
        if pool.problem and DIGEST not in pool.problem:
            yield _alarm(f"{subject}, pool {pool.pool}", pool.problem)
    for router, state in sorted(node.routers.items()):
        if state != UP:
            yield _alarm(subject, f"router {router} is {state}", "check BGP on both sides")
    for interface, mode in sorted(node.xdp.items()):
        if mode not in (NATIVE, GENERIC_BY_WISH):
            yield _warning(subject, f"XDP on {interface} is {mode}")


def _joiner_problems(view: FleetView) -> Iterator[Problem]:
    """Who asks to come into a pool that cannot reach it."""
    for pool in view.desired.pools if view.desired is not None else ():
        family = pool.tunnel.title
        for agent in view.agents.values():
            if pool.join is Join.AUTO and pool.name in agent.joins and not is_reachable(agent, pool):
                what = f"joins pool {pool.name}, which tunnels in {family}, but has no {family} address"
                remedy = "add one to its settings (address: [IPV4, IPV6]) and restart lbbackend there"
                yield _warning(f"backend {agent.name}", what, remedy)


def _agent_problems(view: FleetView) -> Iterator[Problem]:
    for name, agent in sorted(view.live_agents.items()):
        for alarm in agent.alarms:
            yield _alarm(f"backend {name}", alarm)
