"""The kernel's network configuration, in real namespaces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TypeVar

import pytest

from lbnode.dataplane.backend import CLAMP_OBJECT
from lbnode.dataplane.libbpf import BpfObject
from lbnode.model.nexthop import NextHop
from lbnode.netdev import InterfaceMissingError, NetdevError, Netlink, bpffs, filters, sysctls
from lbnode.netdev.addresses import add_address, addresses, remove_address
from lbnode.netdev.events import Change, Event
from lbnode.netdev.links import link_named, links
from lbnode.netdev.local_routes import add_local_route, local_routes, remove_local_route
from lbnode.netdev.next_hops import resolve
from lbnode.netdev.watcher import Watcher
from tests.integration import cable as cables
from tests.integration.cable import MTU, Cable, inside, ip, ip_json

T = TypeVar("T")
FAR = ip_address("10.0.0.1")
NOBODY = ip_address("10.0.0.99")
BEHIND = ip_address("203.0.113.5")
PATIENCE_S = 10.0


@pytest.fixture
def cable() -> Iterator[Cable]:
    with cables.laid() as laid:
        yield laid


def near(cable: Cable, work: Callable[[Netlink], Awaitable[T]]) -> T:
    """Run `work` on a loop of its own inside the near namespace."""

    async def session() -> T:
        async with Netlink() as netlink:
            return await work(netlink)

    return inside(cable.near, lambda: asyncio.run(session()))


def mac(namespace: str) -> bytes:
    return bytes.fromhex(ip_json("-n", namespace, "link", "show", "eth0")[0]["address"].replace(":", ""))


async def resolved(netlink: Netlink, address: str) -> NextHop:
    """Ask again at each event until the next hop is known."""
    changed = asyncio.Event()
    with Watcher(lambda _event: changed.set()):
        async with asyncio.timeout(PATIENCE_S):
            while (found := await resolve(netlink, ip_address(address))) is None:
                await changed.wait()
                changed.clear()
            return found


def test_a_link_is_found_by_name(cable: Cable) -> None:
    link = near(cable, lambda netlink: link_named(netlink, "eth0"))
    assert (link.name, link.mac, link.mtu, link.up) == ("eth0", mac(cable.near), MTU, True)


def test_a_link_whose_other_end_is_down_is_up_and_does_not_run(cable: Cable) -> None:
    ip("-n", cable.far, "link", "set", "eth0", "down")
    link = near(cable, lambda netlink: link_named(netlink, "eth0"))
    assert (link.up, link.running) == (True, False)


def test_a_link_that_knows_no_carrier_runs(cable: Cable) -> None:
    assert near(cable, lambda netlink: link_named(netlink, "lo")).running


def test_a_link_that_is_not_there_is_named_with_those_that_are(cable: Cable) -> None:
    with pytest.raises(InterfaceMissingError, match=r"^interface eth9: no such interface; have: eth0, lo$"):
        near(cable, lambda netlink: link_named(netlink, "eth9"))


def test_lo_has_no_ethernet_address(cable: Cable) -> None:
    assert [(link.name, link.mac == b"") for link in near(cable, links)] == [("lo", True), ("eth0", False)]


@pytest.mark.parametrize("address", ["192.0.2.80", "2001:db8::80"])
def test_adding_and_removing_an_address_twice_is_no_error(cable: Cable, address: str) -> None:
    vip = ip_address(address)

    async def work(netlink: Netlink) -> None:
        assert [await add_address(netlink, "lo", vip), await add_address(netlink, "lo", vip)] == [True, False]
        assert vip in await addresses(netlink, "lo")
        assert [await remove_address(netlink, "lo", vip), await remove_address(netlink, "lo", vip)] == [
            True,
            False,
        ]
        assert vip not in await addresses(netlink, "lo")

    near(cable, work)


@pytest.mark.parametrize("text", ["203.0.113.0/28", "2001:db8:5::/64"])
def test_every_address_of_a_local_prefix_is_this_machines_until_it_is_taken_away(
    cable: Cable, text: str
) -> None:
    network = ip_network(text)

    async def work(netlink: Netlink) -> None:
        for change, states in ((add_local_route, [True, False]), (remove_local_route, [True, False])):
            is_added = change is add_local_route
            assert [await change(netlink, "lo", network) for _ in states] == states
            assert (network in await local_routes(netlink, "lo")) is is_added
            route = ip_json("-n", cable.near, "route", "get", str(network[-1]))[0] if is_added else {}
            assert route.get("dev", "lo") == "lo"

    near(cable, work)


def test_a_neighbour_on_the_link_is_resolved(cable: Cable) -> None:
    hop = near(cable, lambda netlink: resolved(netlink, "10.0.0.1"))
    assert (hop.source_mac, hop.destination_mac, hop.mtu) == (mac(cable.near), mac(cable.far), MTU)


def test_behind_a_gateway_the_gateway_is_the_next_hop_and_the_routes_mtu_counts(cable: Cable) -> None:
    ip("-n", cable.near, "route", "add", "203.0.113.0/24", "via", str(FAR), "mtu", "1400")
    hop = near(cable, lambda netlink: resolved(netlink, str(BEHIND)))
    assert (hop.destination_mac, hop.mtu) == (mac(cable.far), 1400)


def test_a_gateway_of_the_other_family_is_resolved(cable: Cable) -> None:
    for namespace, address in ((cable.far, "fd00::1/64"), (cable.near, "fd00::2/64")):
        ip("-n", namespace, "addr", "add", address, "dev", "eth0", "nodad")
    ip("-n", cable.near, "route", "add", "203.0.113.0/24", "via", "inet6", "fd00::1", "dev", "eth0")
    hop = near(cable, lambda netlink: resolved(netlink, str(BEHIND)))
    assert hop.destination_mac == mac(cable.far)


def test_a_changed_neighbour_is_noticed(cable: Cable) -> None:
    async def work(netlink: Netlink) -> bytes:
        await resolved(netlink, str(FAR))
        changed = asyncio.Event()
        with Watcher(lambda event: changed.set() if event.change is Change.NEIGHBOUR else None):
            ip("-n", cable.near, "neigh", "replace", str(FAR), "lladdr", "02:00:00:00:00:77", "dev", "eth0")
            async with asyncio.timeout(PATIENCE_S):
                await changed.wait()
        hop = await resolve(netlink, FAR)
        assert hop is not None
        return hop.destination_mac

    assert near(cable, work).hex(":") == "02:00:00:00:00:77"


@pytest.mark.parametrize(
    "address",
    ["203.0.113.5", "10.0.0.2", "127.0.0.1", "198.51.100.1", "2001:db8::1"],
    ids=["no route", "this machine", "loopback", "a route that refuses", "no IPv6 route"],
)
def test_what_does_not_leave_by_ethernet_has_no_next_hop(cable: Cable, address: str) -> None:
    ip("-n", cable.near, "route", "add", "unreachable", "198.51.100.0/24")
    assert near(cable, lambda netlink: resolve(netlink, ip_address(address))) is None


def test_a_neighbour_that_does_not_answer_has_no_next_hop_but_is_asked_for(cable: Cable) -> None:
    assert near(cable, lambda netlink: resolve(netlink, NOBODY)) is None
    entries = ip_json("-n", cable.near, "neigh", "show", str(NOBODY))
    assert [entry["state"] for entry in entries] == [["INCOMPLETE"]]


def test_a_stale_neighbour_is_confirmed_anew_while_it_is_used(cable: Cable) -> None:
    stale = ["neigh", "replace", str(FAR), "lladdr", mac(cable.far).hex(":"), "dev", "eth0", "nud", "stale"]
    ip("-n", cable.near, *stale)
    assert near(cable, lambda netlink: resolve(netlink, FAR)) is not None
    (entry,) = ip_json("-n", cable.near, "neigh", "show", str(FAR))
    assert entry["state"] in (["DELAY"], ["PROBE"], ["REACHABLE"])


def test_events_say_which_interface_they_are_about(cable: Cable) -> None:
    async def work(netlink: Netlink) -> list[Event]:
        found: list[Event] = []
        done = asyncio.Event()

        def heard(event: Event) -> None:
            found.append(event)
            if {each.change for each in found} >= {Change.ADDRESS, Change.ROUTE, Change.LINK}:
                done.set()

        with Watcher(heard):
            await add_address(netlink, "eth0", ip_address("192.0.2.80"))
            ip("-n", cable.near, "link", "set", "eth0", "mtu", "1400")
            async with asyncio.timeout(PATIENCE_S):
                await done.wait()
        return found

    index = near(cable, lambda netlink: link_named(netlink, "eth0")).index
    events = near(cable, work)
    assert Event(Change.ADDRESS, index) in events
    assert Event(Change.LINK, index) in events


def test_a_sysctl_remembers_what_it_was(cable: Cable) -> None:
    def work() -> None:
        before = sysctls.read("net/ipv4/conf/eth0/arp_ignore")
        assert sysctls.write_all({"net/ipv4/conf/eth0/arp_ignore": "3"}) == {
            "net/ipv4/conf/eth0/arp_ignore": before
        }
        assert sysctls.write_all({"net/ipv4/conf/eth0/arp_ignore": "3"}) == {}
        assert sysctls.read("net/ipv4/conf/eth0/arp_ignore") == "3"

    inside(cable.near, work)


def test_a_sysctl_that_is_not_there_is_named() -> None:
    with pytest.raises(NetdevError, match=r"^read sysctl net/ipv4/conf/eth99/rp_filter: No such file"):
        sysctls.write("net/ipv4/conf/eth99/rp_filter", "0")


def test_a_sysctl_is_never_a_path_elsewhere() -> None:
    with pytest.raises(NetdevError, match="not a path below /proc/sys"):
        sysctls.read("net/../../uptime")


def test_mounting_and_unmounting_bpffs_twice_is_no_error(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "bpf"
    try:
        assert [bpffs.mount(directory), bpffs.mount(directory)] == [True, False]
        assert bpffs.is_mounted(directory)
    finally:
        assert [bpffs.unmount(directory), bpffs.unmount(directory)] == [True, False]
    assert not bpffs.is_mounted(directory)


def test_a_directory_on_another_bpffs_is_not_a_mount_of_its_own(tmp_path: Path) -> None:
    bpffs.mount(tmp_path / "bpf")
    try:
        (tmp_path / "bpf" / "below").mkdir()
        assert not bpffs.is_mounted(tmp_path / "bpf" / "below")
    finally:
        bpffs.unmount(tmp_path / "bpf")


def test_our_filter_comes_and_goes_beside_others(cable: Cable) -> None:
    async def work(netlink: Netlink) -> None:
        with BpfObject.open(CLAMP_OBJECT) as clamp:
            clamp.load()
            program = clamp.program("clamp")
            assert not await filters.detach_egress(netlink, "eth0")
            for name in ("first", "second"):
                await filters.attach_egress(netlink, "eth0", program.fd, name)
                assert await filters.attached_egress(netlink, "eth0") == name
            program.close()
        assert await filters.detach_egress(netlink, "eth0")
        assert await filters.attached_egress(netlink, "eth0") is None

    near(cable, work)
    assert "clsact" not in ip("netns", "exec", cable.near, "tc", "qdisc", "show", "dev", "eth0")


def test_another_ones_filter_survives_the_end_of_ours(cable: Cable) -> None:
    def tc(*words: str) -> str:
        return ip("netns", "exec", cable.near, "tc", *words)

    async def work(netlink: Netlink) -> None:
        with BpfObject.open(CLAMP_OBJECT) as clamp:
            clamp.load()
            program = clamp.program("clamp")
            await filters.attach_egress(netlink, "eth0", program.fd, "ours")
            program.close()
        await filters.detach_egress(netlink, "eth0")

    tc("qdisc", "add", "dev", "eth0", "clsact")
    tc(
        "filter",
        "add",
        "dev",
        "eth0",
        "egress",
        "prio",
        "9",
        "bpf",
        "da",
        "obj",
        str(CLAMP_OBJECT),
        "sec",
        "tc",
    )
    near(cable, work)
    assert "pref 9 bpf" in tc("filter", "show", "dev", "eth0", "egress")
