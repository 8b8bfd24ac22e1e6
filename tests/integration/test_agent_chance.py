"""Second chances between real agents: flows that are held elsewhere go on, and what nobody holds is answered."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from lbnode.core.history import build_table, earlier_epochs
from lbnode.dataplane.packet_model import checksum
from lbnode.dataplane.values import Count
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.fleet import Backend, DesiredFleet, Pool, PoolMember, Protocol, Vip
from lbnode.model.flows import FlowQuestion, FlowReport
from lbnode.model.ids import BackendName, EpochNumber
from lbnode.model.intake import Intake
from lbnode.model.members import AgentLive, BackendMember
from lbnode.model.view import FleetView
from lbnode.store.fleet import FleetStore
from ring.bucket import Flow, bucket_of, derive_keys
from tests.integration import agents
from tests.integration.agents import PORT, VIP, Member, Segment, ask, segment_of
from tests.integration.cable import eventually, inside, ip
from tests.integration.memory import FLEET, found_fleet, in_store, tree_of, until
from tests.integration.tunnel import CLIENT
from tests.unit.backend import fleets
from tests.unit.backend.fleets import WEB

TIMEOUT_S = 10.0
EPOCH = 3
HEARD = (VIP, Protocol.TCP, PORT)
RST = 0x04

T = TypeVar("T")


class World(Segment):
    """Three agents that run, on a fleet whose pool has them all. Every test leaves it so.

    `stamp` is the number of the newest epoch.
    """

    directory: Path
    processes: list[subprocess.Popen[bytes]]
    stamp: int
    ports: Iterator[int]
    before: dict[str, Mapping[str, Count]]

    def begin(self) -> None:
        """Send to b1, and count from here on."""
        self.sender.aim(self.members[0], stamp=self.stamp)
        self.before = {member.name: member.snapshot().counters for member in self.members}

    def counted(self, member: Member, outcome: str) -> int:
        """Packets with that outcome since the test began."""
        return member.counted(outcome) - self.before[member.name][outcome].packets

    def restart(self, member: Member, **settings: object) -> None:
        """SIGKILL an agent, and start its successor."""
        self.kill(member)
        self.processes[member.number - 1] = member.start(self.directory / "store", **settings)

    def kill(self, member: Member) -> None:
        """SIGKILL an agent."""
        self.processes[member.number - 1].kill()
        self.processes[member.number - 1].wait()

    def epoch(self, number: int, states: tuple[BackendState, ...] = ()) -> Epoch:
        """An epoch with every backend in its slot, those of `states` not all active."""
        made = fleets.epoch(number, *(member.id for member in self.members))
        slots = tuple(
            replace(slot, state=state)
            for slot, state in zip(made.slots, (*states, *[BackendState.ACTIVE] * 3), strict=False)
        )
        sealed = replace(made, slots=slots)
        return replace(sealed, digest=build_table(sealed, ()).digest())

    def in_store(self, work: Callable[[FleetStore], Awaitable[T]]) -> T:
        """Do something to the fleet's memory, as a node would."""
        return in_store(tree_of(self.directory), work)

    def make_current(self, number: int) -> None:
        """Let nodes go by an epoch that was offered."""
        self.in_store(lambda store: store.set_current(WEB, EpochNumber(number)))

    def offer(self, epoch: Epoch) -> None:
        """Offer an epoch, and wait until every agent goes by it."""
        self.in_store(lambda store: store.create_epoch(epoch))
        for member in self.members:
            eventually(f"{member.name} goes by {epoch.number}", partial(goes_by, member, epoch))
        self.stamp = epoch.number

    def port_owned_by(self, owner: Member, epoch: Epoch) -> int:
        """A client's port that was not used before, and whose flow belongs to `owner`."""
        keys = derive_keys(bytes.fromhex("11" * 32), epoch.seed)
        table = build_table(epoch, earlier_epochs({epoch.number: epoch}, epoch))
        for port in self.ports:
            flow = Flow.between(CLIENT, port, VIP, PORT, Protocol.TCP)
            if table.owners[bucket_of(keys, "multiply", "flow", flow, epoch.table_size)] == owner.id:
                return port
        raise AssertionError(f"{owner.name} owns nothing")


def goes_by(member: Member, epoch: Epoch) -> bool:
    return f"epoch={epoch.number}\n" in member.log


def hears(member: Member) -> bool:
    return HEARD in member.snapshot().heard


def wanted(world: World) -> FleetView:
    """The fleet as it is in the beginning."""
    members = {BackendName(member.name): member for member in world.members}
    return replace(
        fleets.view(),
        desired=DesiredFleet(
            FLEET,
            tuple(Backend(name, (member.address,)) for name, member in members.items()),
            (Pool(WEB, tuple(map(PoolMember, members))),),
            (Vip(VIP, Protocol.TCP, PORT, WEB),),
        ),
        backends={
            name: BackendMember(name, member.id, (member.address,), True) for name, member in members.items()
        },
        epochs={WEB: {EpochNumber(EPOCH): world.epoch(EPOCH)}},
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("agents")
    with agents.segment(directory, 3) as made:
        world = World(made.far, made.hub, made.members, made.sender)
        world.directory, world.stamp, world.ports = directory, EPOCH, iter(range(21000, 30000))
        world.in_store(lambda store: found_fleet(store, wanted(world)))
        world.processes = [member.start(directory / "store") for member in world.members]
        for member in world.members:
            eventually(f"{member.name} hears", partial(hears, member))
        yield world


@pytest.fixture
def world(running: World) -> World:
    running.begin()
    return running


def test_a_flow_goes_on_wherever_its_packets_arrive(world: World) -> None:
    b1, b2, b3 = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        world.sender.aim(b2, b1, stamp=world.stamp)
        assert ask(flow, "moved to b2, which asks b1") == "b1"
        world.sender.aim(b3, b2, b1, stamp=world.stamp)
        assert ask(flow, "moved to b3, which asks b2 and then b1") == "b1"
        world.sender.aim(b1, b2, b3, stamp=world.stamp)
        assert ask(flow, "back") == "b1"
    assert world.counted(b2, "forwarded_keyless") > 0
    assert world.counted(b3, "forwarded_keyed") > 0
    assert world.counted(b1, "extra_hop") > 0
    assert world.counted(b1, "delivered_held") > 0


def test_a_flow_whose_holder_cannot_be_reached_is_not_reset_and_goes_on_by_way_of_others(
    world: World,
) -> None:
    b1, b2, b3 = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        with routed(b2, "blackhole", f"{b1.address}/32"):
            world.restart(b2)
            world.sender.aim(b2, b1, stamp=world.stamp)
            flow.sendall(b"who ")
            eventually("b2 knows no way to b1", lambda: world.counted(b2, "drop_no_next_hop") > 0)
            world.sender.aim(b2, b1, b3, stamp=world.stamp)
            flow.sendall(b"knows one?\n")
            assert flow.recv(1 << 16) == b"b1:who knows one?\n"
        world.sender.aim(b2, b1, stamp=world.stamp)
        assert ask(flow, "b2 knows one again") == "b1"
    assert world.counted(b2, "delivered_last") == 0
    assert world.counted(b3, "forwarded_keyless") > 0


@contextmanager
def routed(here: Member, *route: str) -> Iterator[None]:
    """Let a backend have one more route."""
    ip("-n", here.namespace, "route", "add", *route)
    try:
        yield
    finally:
        ip("-n", here.namespace, "route", "del", *route)


def test_segments_fit_the_narrowest_way_to_another_backend(world: World) -> None:
    b1, _, b3 = world.members
    before = b1.log.count("path_mtu=1600")
    with routed(b1, f"{b3.address}/32", "dev", "eth0", "mtu", "1300"):
        eventually("the clamp is for less", lambda: "path_mtu=1300" in b1.log)
        with world.connect() as flow:
            assert flow.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1300 - 28 - 40
    eventually("the clamp is for the link again", lambda: b1.log.count("path_mtu=1600") > before)


def test_full_segments_are_passed_on_whole(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        world.sender.aim(b2, b1, stamp=world.stamp)
        assert ask(flow, "x" * 50000) == "b1"
    assert world.counted(b2, "drop_too_big") == 0


def test_a_router_s_word_about_the_path_reaches_the_backend_that_holds_the_flow(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        world.sender.aim(b2, b1, stamp=world.stamp)
        world.sender.send(too_big(world.sender.last, 1300))
        way = ("-n", b1.namespace, "route", "get", str(CLIENT))
        eventually("b1 knows how large its packets may be", lambda: "mtu 1300" in ip(*way))
        assert world.counted(b2, "forwarded_keyless") > 0
        assert ask(flow, "x" * 50000) == "b1"


def too_big(packet: bytes, mtu: int) -> bytes:
    """Return "fragmentation needed" (RFC 1191) about what the VIP sends next, after the client's `packet`."""
    sent = packet[:12] + packet[16:20] + packet[12:16] + packet[22:24] + packet[20:22] + packet[28:32]
    message = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + sent
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, socket.IPPROTO_ICMP, 0)
    head += CLIENT.packed + VIP.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + message


def test_a_node_that_is_behind_breaks_nothing(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect(world.port_owned_by(b1, world.epoch(world.stamp))) as flow:
        assert ask(flow, "established") == "b1"
        world.sender.aim(b2, stamp=world.stamp - 1)
        assert ask(flow, "an old epoch had b2 as owner") == "b1"
    assert world.counted(b2, "forwarded_restarted") > 0


def test_a_backend_that_drains_keeps_its_flows_and_sends_new_ones_to_their_owners(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as old:
        assert ask(old, "established") == "b1"
        drained = world.epoch(world.stamp + 1, (BackendState.DRAINING,))
        world.offer(drained)
        eventually_told(world, lambda live: live.pools == {WEB: drained.number})
        assert b1.snapshot().intake == {WEB: Intake.ONE_BEHIND}, "nobody goes by the offer yet"
        world.make_current(drained.number)
        eventually("b1 takes no new flows", lambda: not b1.snapshot().intake)
        with world.connect(world.port_owned_by(b2, drained)) as new:
            assert ask(new, "sent to b1 by a node that is behind") == "b2"
        assert ask(old, "still here") == "b1"
        live = eventually_told(world, lambda live: live.flows.get(WEB) == 1)
        assert live.pools == {WEB: drained.number}
    assert world.counted(b1, "forwarded_syn") > 0
    eventually_told(world, lambda live: live.flows.get(WEB) == 0)
    world.offer(world.epoch(world.stamp + 1))
    world.make_current(world.stamp)
    eventually("b1 takes new flows again", lambda: b1.snapshot().intake == {WEB: Intake.ONE_BEHIND})


def eventually_told(world: World, holds: Callable[[AgentLive], bool]) -> AgentLive:
    """Wait until b1 tells the fleet something."""
    b1 = BackendName("b1")

    def told(view: FleetView) -> bool:
        return b1 in view.live_agents and holds(view.live_agents[b1])

    return world.in_store(lambda store: until(store, told)).live_agents[b1]


def test_the_leaders_question_is_answered_bucket_by_bucket(world: World) -> None:
    async def ask_all(store: FleetStore) -> Mapping[BackendName, FlowReport]:
        await store.ask(FlowQuestion(WEB, 1, EpochNumber(world.stamp)))
        return (await until(store, lambda view: len(view.reports.get(WEB, {})) == 3)).reports[WEB]

    with world.connect(20001) as one, world.connect(20002) as other:
        assert (ask(one, "first"), ask(other, "second")) == ("b1", "b1")
        by_name = world.in_store(ask_all)
    assert [by_name[BackendName(name)].total for name in ("b1", "b2", "b3")] == [2, 0, 0]
    epoch = world.epoch(world.stamp)
    keys = derive_keys(bytes.fromhex("11" * 32), epoch.seed)
    for port in (20001, 20002):
        flow = Flow.between(CLIENT, port, VIP, PORT, Protocol.TCP)
        bucket = bucket_of(keys, "multiply", "flow", flow, epoch.table_size)
        assert by_name[BackendName("b1")].flows()[bucket] >= 1


def test_what_nobody_holds_is_answered_by_the_last_one(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        last = world.sender.last
    stray = last[:20] + (9).to_bytes(2, "big") + last[22:]
    with inside(world.far, listen_on_wire) as wire:
        world.sender.aim(b2, b1, stamp=world.stamp)
        world.sender.send(with_checksum(stray))
        wire.settimeout(TIMEOUT_S)
        while True:
            frame = wire.recv(2048)
            if frame[23] == 6 and frame[26:30] == VIP.packed and frame[47] & RST:
                break
    assert world.counted(b2, "forwarded_keyless") > 0


def listen_on_wire() -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    wire.bind(("eth0", 0x0800))
    return wire


def with_checksum(packet: bytes) -> bytes:
    """Return the IPv4 TCP packet (without IP options) with its TCP checksum made true."""
    segment = packet[20:36] + bytes(2) + packet[38:]
    pseudo = (
        packet[12:20] + bytes([0, 6]) + len(segment).to_bytes(2, "big") + segment + bytes(len(segment) % 2)
    )
    total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:36] + (~total & 0xFFFF).to_bytes(2, "big") + packet[38:]


@pytest.mark.parametrize(("cookies", "outcome"), [("1", "delivered_handshake"), ("2", "delivered_cookie")])
def test_the_last_packet_of_a_handshake_belongs_to_who_answered_the_first(
    world: World, cookies: str, outcome: str
) -> None:
    b1, b2, _ = world.members
    ip("netns", "exec", b1.namespace, "sysctl", "-qw", f"net.ipv4.tcp_syncookies={cookies}")
    world.sender.aim(b1, b2, stamp=world.stamp)
    with world.connect() as flow:
        assert ask(flow, "opened with a key") == "b1"
    assert world.counted(b1, outcome) == 1
    assert world.counted(b1, "forwarded_keyless") == 0
    ip("netns", "exec", b1.namespace, "sysctl", "-qw", "net.ipv4.tcp_syncookies=1")


def test_a_flow_that_ended_here_is_known_by_its_numbers(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as flow:
        assert ask(flow, "bye") == "b1"
        assert flow.recv(1) == b""
    is_over = re.compile(r"TIME-WAIT")
    eventually("TIME_WAIT", lambda: is_over.search(ip("netns", "exec", b1.namespace, "ss", "-tan")))
    world.sender.aim(b1, b2, stamp=world.stamp)
    last = world.sender.last
    world.sender.send(segment_of(last, 1 << 30))
    eventually("a stranger's segment is passed on", lambda: world.counted(b1, "forwarded_keyless") == 1)
    assert world.counted(b1, "delivered_time_wait") == 0
    world.sender.send(last)
    eventually("its own segment is taken", lambda: world.counted(b1, "delivered_time_wait") > 0)


def test_an_agent_without_second_chance_delivers_everything(world: World) -> None:
    _, b2, b3 = world.members
    world.restart(b2, second_chance=False)
    world.sender.aim(b3, stamp=world.stamp)
    with world.connect() as flow:
        assert ask(flow, "established") == "b3"
        world.sender.aim(b2, b3, stamp=world.stamp)
        with pytest.raises(ConnectionResetError):
            ask(flow, "moved")
    assert world.counted(b2, "delivered_no_chance") > 0
    world.restart(b2)


def test_second_chances_outlive_the_agent_and_its_successor(world: World) -> None:
    b1, b2, _ = world.members
    with world.connect() as flow:
        assert ask(flow, "established") == "b1"
        world.sender.aim(b2, b1, stamp=world.stamp)
        world.kill(b2)
        assert ask(flow, "no agent on b2") == "b1"
        world.restart(b2)
        assert ask(flow, "another agent on b2") == "b1"
