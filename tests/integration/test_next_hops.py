"""Next hops as the daemons follow them: a machine with two links, on one of them two gateways that take turns.

The gateways have one address between them. A gateway that takes the address over says so unasked (RFC 5227, RFC 4861
§7.2.6), as routers do that share one by VRRP; the other one goes on taking what is still sent to it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lbnode.daemon.hops import NextHops
from lbnode.model.ids import IPAddress
from lbnode.netdev.netlink import Message, Netlink
from tests.integration.cable import Cable, enter, eventually, inside, ip, ip_json, laid
from tests.integration.nodes import WEB, NodeMachine, node_machine

T = TypeVar("T")

PATIENCE_S = 10.0
ON_LINK = {4: ip_address("10.0.0.1"), 6: ip_address("fd00::1")}
BEHIND = {
    4: [ip_address(f"10.9.0.{n}") for n in range(1, 9)],
    6: [ip_address(f"fd09::{n}") for n in range(1, 9)],
}
GATEWAY = {4: "10.1.0.1", 6: "fd01::1"}
MACS = ("02:00:00:00:0a:01", "02:00:00:00:0b:01")
PASS = Path(__file__).resolve().parents[2] / "lbnode" / "bpf" / "build" / "pass.bpf.o"

VIP, PORT = "192.0.2.10", 7000
ETH_P_ALL, GRE, PROTOCOL = 3, 47, {b"\x08\x00": 14 + 9, b"\x86\xdd": 14 + 6}
NUMBER = {b"\x08\x00": 14 + 24 + 28, b"\x86\xdd": 14 + 44 + 28}
"""Where a frame has its protocol, and the number behind outer header, GRE, inner header and UDP, by its type."""


@dataclass(slots=True)
class Gateways:
    """The namespace `hub`, where a first gateway has the address and a second one takes it."""

    near: str
    hub: str

    def lay(self) -> None:
        """Plug the hub into the near namespace's `eth1`, and route BEHIND to the gateway."""
        end = ["type", "veth", "peer", "name", "eth1", "netns", self.near, "mtu", "1600"]
        ip("link", "add", "gw0", "address", MACS[0], "netns", self.hub, "mtu", "1600", *end)
        ip("-n", self.hub, "link", "set", "gw0", "xdpdrv", "obj", str(PASS), "sec", "xdp")
        self._address("add", "gw0")
        for address in ("10.1.0.2/24", "fd01::2/64"):
            _add(self.near, address, "eth1")
        for namespace, interface in ((self.hub, "gw0"), (self.near, "eth1")):
            ip("-n", namespace, "link", "set", interface, "up")
        ip("-n", self.near, "route", "add", "10.9.0.0/16", "via", GATEWAY[4])
        ip("-n", self.near, "route", "add", "fd09::/16", "via", GATEWAY[6])

    def take_over(self) -> None:
        """The second gateway takes the address and says so."""
        second = ["link", "gw0", "name", "gw1", "address", MACS[1], "type", "macvlan", "mode", "bridge"]
        ip("-n", self.hub, "link", "add", *second)
        inside(self.hub, _announce)
        self._address("del", "gw0")
        self._address("add", "gw1")
        ip("-n", self.hub, "link", "set", "gw1", "up")

    def _address(self, verb: str, interface: str) -> None:
        for address in (f"{GATEWAY[4]}/24", f"{GATEWAY[6]}/64"):
            if verb == "add":
                _add(self.hub, address, interface)
            else:
                ip("-n", self.hub, "addr", verb, address, "dev", interface)


def _announce() -> None:
    """Have the second gateway's interface tell of its addresses when it comes up."""
    for name in ("ipv4/conf/gw1/arp_notify", "ipv6/conf/gw1/ndisc_notify"):
        Path("/proc/sys/net", name).write_text("1")


def _add(namespace: str, address: str, interface: str) -> None:
    ip("-n", namespace, "addr", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))


@contextmanager
def hub_of(cable: Cable) -> Iterator[Gateways]:
    """Give the near end a second link, with the gateways on it."""
    hub = f"{cable.near}h"
    ip("netns", "add", hub)
    try:
        gateways = Gateways(cable.near, hub)
        gateways.lay()
        for namespace, address in ((cable.far, "fd00::1/64"), (cable.near, "fd00::2/64")):
            _add(namespace, address, "eth0")
        yield gateways
    finally:
        ip("netns", "del", hub)


@pytest.fixture
def cable() -> Iterator[Cable]:
    with laid() as cable:
        yield cable


@pytest.fixture
def gateways(cable: Cable) -> Iterator[Gateways]:
    with hub_of(cable) as gateways:
        yield gateways


class Listed(Netlink):
    """A session that keeps a list of what it asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def request(self, what: str, method: str, *words: Any, **spec: Any) -> list[Message]:
        self.asked.append(what)
        return await super().request(what, method, *words, **spec)


@dataclass(slots=True)
class Followed:
    """Next hops that are being followed in the near namespace, and what they cost."""

    hops: NextHops
    netlink: Listed
    changed: asyncio.Event

    def mac(self, address: object) -> str:
        hop = self.hops.get(ip_address(str(address)))
        return "" if hop is None else hop.destination_mac.hex(":")

    def source_mac(self, address: IPAddress) -> str:
        hop = self.hops.get(address)
        return "" if hop is None else hop.source_mac.hex(":")

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for changes until it holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.changed.wait()
                self.changed.clear()


def following(namespace: str, addresses: list[Any], work: Callable[[Followed], Awaitable[T]]) -> T:
    """Follow the addresses in a namespace for as long as `work` takes; at its start all are resolved."""

    async def session() -> T:
        changed = asyncio.Event()
        async with Listed() as netlink:
            hops = NextHops(netlink, changed.set)
            hops.start()
            try:
                await hops.follow(addresses)
                followed = Followed(hops, netlink, changed)
                await followed.until("all resolved", lambda: not hops.unresolved())
                return await work(followed)
            finally:
                await hops.close()

    return inside(namespace, lambda: asyncio.run(session()))


def mac_of(namespace: str, interface: str) -> str:
    (link,) = ip_json("-n", namespace, "link", "show", interface)
    return str(link["address"])


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_on_link_and_what_is_behind_a_gateway_leave_by_their_own_interfaces(
    cable: Cable, gateways: Gateways, family: int
) -> None:
    async def work(followed: Followed) -> list[tuple[str, str]]:
        found = [followed.hops.get(address) for address in (ON_LINK[family], BEHIND[family][0])]
        return [(hop.source_mac.hex(":"), hop.destination_mac.hex(":")) for hop in found if hop is not None]

    assert following(cable.near, [ON_LINK[family], *BEHIND[family]], work) == [
        (mac_of(cable.near, "eth0"), mac_of(cable.far, "eth0")),
        (mac_of(cable.near, "eth1"), MACS[0]),
    ]


@pytest.mark.parametrize("family", [4, 6])
def test_a_gateway_that_changes_its_mac_takes_all_behind_it_along_without_a_look_up(
    cable: Cable, gateways: Gateways, family: int
) -> None:
    async def work(followed: Followed) -> list[str]:
        followed.netlink.asked.clear()
        await asyncio.to_thread(gateways.take_over)
        await followed.until(
            "the new gateway", lambda: all(followed.mac(each) == MACS[1] for each in BEHIND[family])
        )
        assert followed.mac(ON_LINK[family]) == mac_of(cable.far, "eth0")
        return [what for what in followed.netlink.asked if what.startswith("route to ")]

    looked_up = following(cable.near, [ON_LINK[family], *BEHIND[family]], work)
    assert len(looked_up) < len(BEHIND[family]) / 2, "only what is doubted in turn"


def test_neighbours_that_come_and_go_elsewhere_cost_no_question(cable: Cable, gateways: Gateways) -> None:
    async def work(followed: Followed) -> list[str]:
        followed.netlink.asked.clear()
        for number in range(50, 250):
            entry = [f"10.0.0.{number}", "lladdr", MACS[0], "dev", "eth0"]
            await asyncio.to_thread(ip, "-n", cable.near, "neigh", "replace", *entry)
        own = ["neigh", "replace", str(ON_LINK[4]), "lladdr", MACS[1], "dev", "eth0"]
        await asyncio.to_thread(ip, "-n", cable.near, *own)
        await followed.until("the last one", lambda: followed.mac(ON_LINK[4]) == MACS[1])
        return followed.netlink.asked

    asked = following(cable.near, [ON_LINK[4]], work)
    assert len(asked) < 50, "only what is doubted in turn"


def test_a_route_that_moves_to_the_other_interface_takes_the_hop_along(
    cable: Cable, gateways: Gateways
) -> None:
    async def work(followed: Followed) -> None:
        for prefix, gateway in (("10.9.0.0/16", ON_LINK[4]), ("fd09::/16", ON_LINK[6])):
            move = ["route", "replace", prefix, "via", str(gateway)]
            await asyncio.to_thread(ip, "-n", cable.near, *move)
        far = mac_of(cable.far, "eth0")
        await followed.until("the other link", lambda: {followed.mac(each) for each in behind} == {far})

    behind = [BEHIND[4][0], BEHIND[6][0]]
    following(cable.near, behind, work)


def test_an_interface_that_went_down_and_came_back_with_another_mac_is_used_again(
    cable: Cable, gateways: Gateways
) -> None:
    async def work(followed: Followed) -> None:
        for words in (["down"], ["address", "02:00:00:00:0c:01"], ["up"]):
            await asyncio.to_thread(ip, "-n", cable.near, "link", "set", "eth0", *words)
        await followed.until("the new source", lambda: followed.source_mac(ON_LINK[4]) == "02:00:00:00:0c:01")

    following(cable.near, [ON_LINK[4]], work)


@dataclass(slots=True)
class Arrivals:
    """Numbered packets that arrive at the hub inside GRE, by the Ethernet address that they were sent to."""

    to: dict[int, str] = field(default_factory=dict)

    def take(self, frame: bytes) -> None:
        """Look at one frame."""
        kind = frame[12:14]
        if kind not in PROTOCOL or frame[PROTOCOL[kind]] != GRE:
            return
        (number,) = struct.unpack_from("!I", frame, NUMBER[kind])
        self.to[number] = frame[:6].hex(":")


@contextmanager
def arriving(hub: str) -> Iterator[Arrivals]:
    """Listen at the hub's end of the cable, for both gateways."""
    tap = inside(hub, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    tap.settimeout(0.2)
    arrivals, stopping = Arrivals(), threading.Event()

    def listen() -> None:
        while not stopping.is_set():
            try:
                frame, (interface, _, kind, _, _) = tap.recvfrom(2048)
            except TimeoutError:
                continue
            if interface == "gw0" and kind != socket.PACKET_OUTGOING:
                arrivals.take(frame)

    with tap:
        tap.bind(("gw0", ETH_P_ALL))
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield arrivals
        finally:
            stopping.set()
            thread.join()


class Load(threading.Thread):
    """Sends numbered datagrams to the VIP from a namespace until it is stopped; `sent` is how many."""

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace
        self._stopping = threading.Event()
        self.sent = 0

    def run(self) -> None:
        enter(self._namespace)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._stopping.wait(0.0005):
                sender.sendto(struct.pack("!I", self.sent), (VIP, PORT))
                self.sent += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeMachine]:
    with ExitStack() as stack:
        yield stack.enter_context(node_machine(tmp_path))


@pytest.mark.parametrize("family", [4, 6])
def test_a_gateway_whose_mac_changes_under_load_costs_no_packet(node: NodeMachine, family: int) -> None:
    backend = {"name": "b1", "address": str(BEHIND[family][0]), "agent": False}
    pool = {"name": WEB, "backends": ["b1"], "tunnel": f"ipv{family}", "table_size": 251, "health": "off"}
    fleet = {
        "fleet": "demo",
        "backends": [backend],
        "pools": [pool],
        "vips": [{"address": VIP, "port": PORT, "protocol": "udp", "pool": WEB}],
    }
    with hub_of(node.cable) as gateways, arriving(gateways.hub) as arrivals:
        node.start(address=["10.0.0.2", "fd00::2"])
        node.apply(fleet)
        eventually("epoch 1 is in use", lambda: node.status().agree and node.pool().current == 1)
        ip("-n", node.cable.far, "route", "add", f"{VIP}/32", "via", "10.0.0.2")
        load = Load(node.cable.far)
        load.start()
        try:
            eventually("packets at the first gateway", lambda: len(arrivals.to) > 100)
            gateways.take_over()
            eventually("packets at the second", lambda: list(arrivals.to.values())[-100:] == [MACS[1]] * 100)
        finally:
            load.stop()
        eventually("the last packet", lambda: load.sent - 1 in arrivals.to)
    assert sorted(arrivals.to) == list(range(min(arrivals.to), load.sent)), "none is missing after the first"
