from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TypedDict, Unpack

from lbnode.core.history import seal
from lbnode.core.status import assess
from lbnode.core.vips import digest_of
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import Intents, PoolMember
from lbnode.model.flows import HeldChange, HeldChanges
from lbnode.model.ids import BackendId, BackendName, EpochNumber, NodeName, PoolName, SlotNumber
from lbnode.model.members import AgentLive, AgentMember, LoadedEpoch, NodeLive, NodeMember, View
from lbnode.model.status import AgentState, FleetStatus, Severity
from lbnode.model.view import FleetView
from lbnode.model.vip import VipAddress

from .fleets import SIZE, VIP, WEB, ViewChanges, current, drain, fleet, holding, numbered, settle, view_of

N1, N2 = NodeName("n1"), NodeName("n2")
B1 = BackendName("b1")


class LiveChanges(TypedDict, total=False):
    """What a test's node says of itself otherwise than others."""

    pools: dict[PoolName, LoadedEpoch]
    announced: tuple[VipAddress, ...]
    routers: dict[str, str]
    verdicts: dict[PoolName, dict[BackendName, bool]]
    xdp: dict[str, str]
    alarms: tuple[str, ...]
    vips: str


def live(view: FleetView, name: str, **changes: Unpack[LiveChanges]) -> NodeLive:
    """A connected node that has loaded everything, announces everything, and is well."""
    epoch = current(view)
    node = NodeLive(
        NodeName(name),
        "0.1.0",
        "up",
        1000.0,
        f"unix:/run/{name}",
        {WEB: LoadedEpoch(None, epoch.number, epoch.digest)},
        (VIP,),
        {"10.9.9.1": "up"},
        xdp={"eth0": "native"},
    )
    return replace(node, **changes)


def well(**changes: Unpack[ViewChanges]) -> FleetView:
    """Two nodes, three backends, all well."""
    view = settle(view_of(fleet("b1", "b2", "b3")))
    members = {name: NodeMember(name, (ip_address(f"10.0.1.{i}"),), 1) for i, name in enumerate((N1, N2), 1)}
    nodes = {name: live(view, name) for name in (N1, N2)}
    view = replace(view, nodes=members, live_nodes=nodes, leader=N2)
    return replace(view, **changes)


def status_of(view: FleetView, own: NodeLive | None = None) -> FleetStatus:
    in_use = {WEB: current(view)}
    return assess(view, own or view.live_nodes.get(N1) or live(view, N1), in_use, now=1090.0)


def with_node(view: FleetView, name: NodeName, **changes: Unpack[LiveChanges]) -> FleetView:
    return replace(view, live_nodes={**view.live_nodes, name: live(view, name, **changes)})


def said(status: FleetStatus, severity: Severity) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in status.problems if one.severity is severity]


def alarms(view: FleetView) -> list[str]:
    return said(status_of(view), Severity.ALARM)


def warnings(view: FleetView) -> list[str]:
    return said(status_of(view), Severity.WARNING)


def test_a_fleet_that_is_well_agrees_and_has_no_problems() -> None:
    status = status_of(well())
    assert (status.agree, status.problems, status.disagreements) == (True, (), ())
    assert (status.fleet, status.leader, status.answered_by, status.view) == ("demo", N2, N1, View.FLEET)


def test_nodes_say_what_they_have_and_announce() -> None:
    one, two = status_of(well()).nodes
    assert (one.name, one.state, one.version, one.uptime_s) == (N1, "up", "0.1.0", 90.0)
    assert (one.announced, one.routers, one.xdp) == ((VIP,), {"10.9.9.1": "up"}, {"eth0": "native"})
    assert one.sources == (ip_address("10.0.1.1"),)
    assert two.pools[0].agrees
    assert two.pools[0].current == 1


def test_the_shares_of_a_pool_are_those_of_its_table() -> None:
    (pool,) = status_of(well()).pools
    assert sum(slot.buckets for slot in pool.slots) == SIZE
    assert all(0.30 < pool.share(slot) < 0.37 for slot in pool.slots)


def test_a_draining_backend_has_no_share_and_is_no_problem() -> None:
    view = settle(drain(replace(well(), live_nodes={}), "b1"))
    view = replace(view, live_nodes={N1: live(view, N1), N2: live(view, N2)})
    status = status_of(view)
    slot = status.pools[0].slots[0]
    assert (slot.backend, slot.state, slot.buckets) == (B1, BackendState.DRAINING, 0)
    assert status.problems == ()


def test_agents_are_connected_silent_or_not_there() -> None:
    view = well(
        live_agents={B1: AgentLive(B1, "0.1.0")},
        agents={BackendName("b2"): AgentMember(BackendName("b2"), (ip_address("10.0.0.2"),), 1)},
    )
    slots = status_of(view).pools[0].slots
    assert [slot.agent for slot in slots] == [AgentState.CONNECTED, AgentState.SILENT, AgentState.NONE]
    assert warnings(view) == [
        "pool web, backend b2: its agent is not connected: nodes and backends that are new do not reach it"
    ]


def test_a_node_that_is_not_connected_is_an_alarm_unless_it_was_drained() -> None:
    view = well()
    view = replace(view, live_nodes={N1: view.live_nodes[N1]})
    assert alarms(view) == ["node n2: not connected"]
    assert alarms(replace(view, intents=Intents(drained_nodes=(N2,)))) == []


def test_another_epoch_or_another_digest_is_disagreement() -> None:
    view = well()
    old = with_node(view, N2, pools={WEB: LoadedEpoch(None, EpochNumber(7), "ab")})
    assert not status_of(old).agree
    assert alarms(old) == ["agreement: node n2, pool web: uses epoch 7, the fleet's is epoch 1"]
    other = with_node(view, N2, pools={WEB: LoadedEpoch(None, EpochNumber(1), "ab" * 16)})
    assert "epoch 1 with digest abababababab, the fleet's is" in status_of(other).disagreements[0]
    own = with_node(view, N2, pools={WEB: LoadedEpoch(None, EpochNumber(1), "ab" * 16, is_own=True)})
    assert alarms(own) == [
        "agreement: node n2, pool web: epoch 1 with its own health verdicts on top, until the fleet has them"
    ]
    nothing = with_node(view, N2, pools={})
    assert status_of(nothing).disagreements == ("node n2, pool web: uses no table, the fleet's is epoch 1",)


def test_a_node_without_the_fleets_vips_is_disagreement() -> None:
    view = well()
    assert view.desired is not None
    assert status_of(with_node(view, N2, vips=digest_of(view.desired.vips))).agree
    without = status_of(with_node(view, N2, vips=digest_of(view.desired.vips[1:])))
    assert without.disagreements == ("node n2: the VIPs in its kernel are not those of the fleet",)


def test_a_nodes_own_alarms_and_troubles_are_the_fleets() -> None:
    view = well()
    epoch = current(view)
    troubled = with_node(
        view,
        N2,
        alarms=("disk full",),
        routers={"10.9.9.1": "down"},
        xdp={"eth0": "generic: the driver has no native XDP"},
        pools={WEB: LoadedEpoch(None, epoch.number, epoch.digest, "epoch 2: digest differs")},
    )
    assert alarms(troubled) == [
        "node n2, pool web: epoch 2: digest differs; it keeps its old table",
        "node n2: disk full",
        "node n2: router 10.9.9.1 is down",
    ]
    assert warnings(troubled) == ["node n2: XDP on eth0 is generic: the driver has no native XDP"]


def test_generic_xdp_that_was_asked_for_is_no_problem() -> None:
    assert status_of(with_node(well(), N2, xdp={"eth0": "generic: asked for"})).problems == ()


def test_a_vip_that_nobody_announces_is_an_alarm_and_a_partly_announced_one_a_warning() -> None:
    view = well()
    partly = with_node(view, N2, announced=())
    assert warnings(partly) == ["vip 192.0.2.10:80/tcp: not announced by n2"]
    nobody = with_node(partly, N1, announced=())
    assert alarms(nobody) == ["vip 192.0.2.10:80/tcp: announced by no node: clients cannot reach it"]
    drained = replace(partly, intents=Intents(drained_nodes=(N2,)))
    assert warnings(drained) == []


def failing(view: FleetView, *names: str) -> FleetView:
    epoch = current(view)
    ids = {view.backends[BackendName(name)].id for name in names}
    slots = tuple(
        replace(slot, state=BackendState.FAILED) if slot.backend in ids else slot for slot in epoch.slots
    )
    failed = seal(replace(epoch, slots=slots))
    view = replace(view, epochs={WEB: {failed.number: failed}})
    verdicts = {WEB: dict.fromkeys(map(BackendName, names), False)}
    return with_node(with_node(view, N1), N2, verdicts=verdicts)


def test_a_failed_backend_is_a_warning_that_says_who_sees_it_fail() -> None:
    assert warnings(failing(well(), "b2")) == ["pool web, backend b2: failed (checks fail on n2)"]


def test_a_pool_without_an_active_backend_is_an_alarm() -> None:
    found = alarms(failing(well(), "b1", "b2", "b3"))
    assert found == ["pool web: has no active backend: new flows go nowhere"]


def test_an_offer_says_whom_it_waits_for() -> None:
    view = well()
    epoch = current(view)
    view = holding(view, epoch, numbered(epoch, 2, window_from=1), using=1)
    loaded = LoadedEpoch(EpochNumber(2), EpochNumber(1), epoch.digest)
    view = with_node(view, N1, pools={WEB: loaded})
    status = status_of(view)
    assert (status.pools[0].current, status.pools[0].offered) == (1, 2)
    assert warnings(view) == ["pool web: epoch 2 is on offer, waits for node n2"]


def test_without_a_leader_nothing_can_change_and_that_is_an_alarm() -> None:
    assert alarms(well(leader=None)) == ["leader: none elected: nothing changes, not even for failures"]


def test_a_newcomer_that_is_not_ready_is_shown_in_the_slot_that_it_will_get() -> None:
    view = settle(replace(well(), desired=fleet("b1", "b2", "b3", "b4", health=True)))
    assert len(current(view).slots) == 3
    (pool,) = status_of(replace(view, live_nodes={N1: live(view, N1)})).pools
    assert [(slot.number, slot.backend, slot.state, slot.buckets) for slot in pool.slots[3:]] == [
        (3, "b4", BackendState.FAILED, 0)
    ]


def test_a_newcomer_without_its_agent_is_told_from_one_that_is_meant_to_have_none() -> None:
    desired = fleet("b1", "b2", "b3", "b4")
    for expects_agent in (True, False):
        backends = (*desired.backends[:3], replace(desired.backends[3], agent=expects_agent))
        view = settle(replace(well(), desired=replace(desired, backends=backends), live_nodes={}))
        status = status_of(replace(view, live_nodes={N1: live(view, N1)}))
        told = "pool web, backend b4: gets no flows before its agent is connected"
        assert (told in said(status, Severity.WARNING)) == expects_agent


def test_a_backend_that_has_flows_already_is_not_said_to_get_none() -> None:
    view = well()
    assert view.desired is not None
    backends = tuple(replace(backend, agent=True) for backend in view.desired.backends)
    expecting = replace(view, desired=replace(view.desired, backends=backends))
    assert not [line for line in said(status_of(expecting), Severity.WARNING) if "gets no flows" in line]


def test_corrupt_records_are_alarms() -> None:
    assert alarms(well(corrupt=("epochs/web/0000000002: bad",))) == [
        "store: corrupt record epochs/web/0000000002: bad"
    ]


def test_without_the_store_only_this_node_is_known_and_its_own_tables_are_shown() -> None:
    view = well(connected=False)
    own = live(view, N1)
    failed = current(failing(view, "b2"))
    status = assess(view, own, {WEB: failed}, now=1090.0)
    assert (status.view, status.agree, status.leader) == (View.LOCAL, False, None)
    assert [(node.name, node.connected, node.view) for node in status.nodes] == [
        (N1, True, View.LOCAL),
        (N2, False, None),
    ]
    assert status.pools[0].slots[1].state is BackendState.FAILED
    assert [one for one in said(status, Severity.ALARM) if "n2" in one] == []
    assert status.problems[0].subject == "store"


def test_without_the_store_a_table_that_is_newer_than_the_copy_on_disk_is_what_carries_the_pool() -> None:
    view = well(connected=False)
    number = EpochNumber(current(view).number + 2)
    own = replace(live(view, N1), pools={WEB: LoadedEpoch(None, number, "newer", "kept as it is")})
    status = assess(view, own, {}, now=1090.0)
    (pool,) = status.pools
    assert (pool.current, pool.digest, pool.offered) == (number, "newer", None)
    assert "pool web" not in {problem.subject for problem in status.problems}
    assert "node n1, pool web: kept as it is" in said(status, Severity.ALARM)


def test_a_successor_that_is_not_up_is_a_warning_that_says_why() -> None:
    view = well()
    assert view.desired is not None
    pool = view.desired.pools[0]
    b9 = BackendName("b9")
    members = (*(one for one in pool.members if one.backend != B1), PoolMember(b9, slot=SlotNumber(0)))
    desired = replace(view.desired, pools=(replace(pool, members=members),))
    known = {**view.backends, b9: replace(view.backends[B1], name=b9, id=BackendId(9))}
    view = replace(view, desired=desired, backends=known)
    assert not [line for line in warnings(view) if "b9" in line]

    for node in (N1, N2):
        verdicts = {WEB: {b9: False}}
        view = with_node(view, node, verdicts=verdicts)
    assert "pool web, slot 0: b9 is to take over from b1 and is not up: checks fail on n1, n2" in warnings(
        view
    )


def test_without_the_store_nothing_is_said_of_agents_and_held_changes() -> None:
    view = well(connected=False, held={WEB: HeldChanges(WEB, (HeldChange("drain b1", {B1: 3}, 1.0, 2.0),))})
    backends = {name: replace(member, agent=True) for name, member in view.backends.items()}
    view = replace(view, backends=backends, live_agents={B1: AgentLive(B1, "0.1.0")})
    status = assess(view, live(view, N1), {WEB: current(view)}, 1090.0, trouble="out of reach for 90 s")
    assert {slot.agent for slot in status.pools[0].slots} == {AgentState.UNKNOWN}
    assert status.pools[0].held == ()
    assert said(status, Severity.WARNING) == []
    assert said(status, Severity.ALARM) == [
        "store: out of reach for 90 s; this is the local view of n1, by the last epochs that it knew"
    ]


def test_a_fleet_to_which_nothing_was_applied_says_what_to_do() -> None:
    status = assess(FleetView(connected=True, leader=N1), live(well(), N1, pools={}), {}, now=0.0)
    assert status.fleet == "(nothing applied yet)"
    assert [one.remedy for one in status.problems] == ["lbctl apply -f fleet.yaml"]


def test_alarms_come_before_warnings() -> None:
    view = with_node(failing(well(), "b2"), N2, alarms=("disk full",), announced=())
    severities = [problem.severity for problem in status_of(view).problems]
    assert severities == sorted(severities, key=lambda one: one is Severity.WARNING)
    assert len(set(severities)) == 2


def test_a_pool_without_an_epoch_is_an_alarm() -> None:
    view = view_of(fleet("b1"))
    status = assess(replace(view, leader=N1), NodeLive(N1, "0", "up", 0.0, ""), {}, now=0.0)
    assert "pool web: has no epoch yet: its VIPs are not served" in said(status, Severity.ALARM)
    assert status.pools[0].current is None


def with_agents(view: FleetView, **flows: int) -> FleetView:
    """All backends have the agent, connected; those named count flows."""
    agents = {name: AgentMember(name, (ip_address("10.9.9.9"),), 1) for name in view.backends}
    view = settle(replace(view, agents=agents, live_nodes={}))
    live = {
        name: AgentLive(name, "0", dict(view.current), flows={WEB: flows[name]} if name in flows else {})
        for name in agents
    }
    return replace(view, live_agents=live)


def at_work(view: FleetView) -> FleetView:
    """Both nodes are connected and use the current epoch."""
    return replace(view, live_nodes={name: live(view, name) for name in (N1, N2)})


def test_a_draining_backend_shows_its_flows_until_it_is_drained() -> None:
    view = at_work(with_agents(drain(well(), "b2"), b2=212))
    slot = status_of(view).pools[0].slots[1]
    assert (slot.state, slot.flows, slot.drained) == (BackendState.DRAINING, 212, False)
    slot = status_of(at_work(with_agents(view, b2=0))).pools[0].slots[1]
    assert (slot.flows, slot.drained) == (0, True)
    assert status_of(view).pools[0].slots[0].flows is None


def test_who_left_a_slot_is_shown_until_it_counts_no_more() -> None:
    view = with_agents(well())
    view = at_work(with_agents(replace(view, desired=fleet("b1", "b3")), b2=9))
    (former,) = status_of(view).pools[0].former
    assert (former.backend, former.slot, former.flows) == (BackendName("b2"), 1, 9)
    assert (former.state, former.agent) == (BackendState.DRAINING, AgentState.CONNECTED)


def test_what_is_held_and_the_window_are_part_of_a_pool() -> None:
    change = HeldChange("drain b3", {B1: 212}, 0.0, 600.0)
    view = replace(at_work(drain(well(), "b3")), held={WEB: HeldChanges(WEB, (change,))})
    pool = status_of(view).pools[0]
    assert pool.held == (change,)
    assert (pool.window_s, pool.window_from, pool.flow_table) == (3600.0, 1, False)


def test_flows_without_a_second_chance_are_a_warning_with_the_reason() -> None:
    view = with_agents(well())
    reason = {"192.0.2.10:80": "no listener in the agent's network namespace"}
    agent = replace(view.live_agents[B1], no_second_chance=reason)
    view = at_work(replace(view, live_agents={**view.live_agents, B1: agent}))
    assert warnings(view) == [
        "pool web, backend b1: no second chance for 192.0.2.10:80: no listener in the agent's network namespace"
    ]
    assert status_of(view).pools[0].slots[0].no_second_chance == reason


def test_tables_that_differ_come_before_every_other_alarm() -> None:
    view = well()
    epoch = current(view)
    view = with_node(view, N1, alarms=("disk full",))
    view = with_node(view, N2, pools={WEB: LoadedEpoch(None, epoch.number, "ab" * 16)})
    first, second = alarms(view)
    assert first.startswith("agreement: node n2, pool web: epoch 1 with digest abab")
    assert second == "node n1: disk full"
