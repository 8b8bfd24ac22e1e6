"""What must be asked of the kernel, and what it leads to: routes, links and neighbours as values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from lbnode.daemon.ways import LinkOf, NeighbourOf, Question, RouteOf, Ways
from lbnode.netdev.events import Change, Event
from lbnode.netdev.links import Link
from lbnode.netdev.neighbours import Neighbour
from lbnode.netdev.next_hops import Hop

NONE, REACHABLE, STALE, DELAY, FAILED = 0, 2, 4, 8, 32
OWN, OTHER, THIRD = bytes(5) + b"\x02", bytes(5) + b"\x03", bytes(5) + b"\x04"
LINK = Link(4, "eth0", OWN, 1500, up=True, running=True)
GATEWAY = ip_address("fe80::1")
NEAR, FAR, FARTHER = ip_address("10.0.0.1"), ip_address("10.9.0.1"), ip_address("2001:db8::1")


class Kernel:
    """A kernel with one interface: NEAR is on the link, the others are behind the gateway."""

    def __init__(self) -> None:
        self.ways = Ways()
        self.asked: list[Question] = []
        self.link: Link | None = LINK
        self.neighbours = {address: Neighbour(4, address, REACHABLE, OTHER) for address in (NEAR, GATEWAY)}

    def settle(self) -> list[Question]:
        """Answer all questions; return them."""
        asked: list[Question] = []
        while questions := self.ways.questions():
            asked += questions
            for question in questions:
                self.answer(question)
        return asked

    def answer(self, question: Question) -> None:
        match question:
            case RouteOf(address):
                hop = Hop(4, address if address == NEAR else GATEWAY, 1400 if address == FAR else 0)
                self.ways.answer(question, hop)
            case LinkOf():
                self.ways.answer(question, self.link)
            case NeighbourOf(_, address):
                self.ways.answer(question, self.neighbours[address])

    def tell(self, address: object, state: int, mac: bytes | None) -> bool:
        """The kernel says that a neighbour is another one now."""
        (known,) = (each for each in self.neighbours.values() if each.address == address)
        news = replace(known, state=state, mac=mac)
        self.neighbours[known.address] = news
        return self.ways.hear(Event(Change.NEIGHBOUR, 4, news))

    def mac(self, address: object) -> bytes | None:
        hop = self.ways.hop(ip_address(str(address)))
        return None if hop is None else hop.destination_mac


@pytest.fixture
def kernel() -> Kernel:
    """A kernel whose ways to all three are known."""
    made = Kernel()
    made.ways.follow([NEAR, FAR, FARTHER])
    made.settle()
    made.ways.moved = False
    return made


def test_on_link_and_behind_a_gateway_each_has_its_hop() -> None:
    kernel = Kernel()
    kernel.ways.follow([NEAR, FAR])
    asked = kernel.settle()
    assert {RouteOf(NEAR), RouteOf(FAR)} < set(asked)
    assert len(asked) == len(set(asked)) == 5, "two routes, one link, two neighbours: each once"
    near, far = kernel.ways.hop(NEAR), kernel.ways.hop(FAR)
    assert near is not None
    assert far is not None
    assert (near.mtu, far.mtu) == (1500, 1400)
    assert kernel.ways.moved


def test_a_neighbour_that_turns_stale_and_fresh_again_costs_no_question(kernel: Kernel) -> None:
    for state in (STALE, DELAY, REACHABLE):
        kernel.tell(GATEWAY, state, OTHER)
        assert kernel.ways.questions() == []
    assert not kernel.ways.moved


def test_a_neighbour_that_nobody_uses_concerns_nobody(kernel: Kernel) -> None:
    stranger = Neighbour(4, ip_address("10.0.0.77"), REACHABLE, THIRD)
    assert not kernel.ways.hear(Event(Change.NEIGHBOUR, 4, stranger))
    assert not kernel.ways.hear(Event(Change.NEIGHBOUR, 5, replace(kernel.neighbours[NEAR], ifindex=5)))
    assert not kernel.ways.hear(Event(Change.NEIGHBOUR, 4))
    assert kernel.ways.questions() == [] == kernel.ways.pushes()


def test_a_gateways_new_mac_moves_all_behind_it_at_once_and_without_a_question(kernel: Kernel) -> None:
    assert kernel.tell(GATEWAY, REACHABLE, THIRD)
    assert kernel.ways.moved
    assert [kernel.mac(address) for address in (NEAR, FAR, FARTHER)] == [OTHER, THIRD, THIRD]
    assert kernel.ways.questions() == []


@pytest.mark.parametrize("state", [STALE, FAILED, NONE])
def test_the_kernel_is_pushed_once_for_a_neighbour_that_it_would_let_go(kernel: Kernel, state: int) -> None:
    assert kernel.tell(NEAR, state, OTHER if state == STALE else None)
    assert [each.address for each in kernel.ways.pushes()] == [NEAR]
    assert kernel.ways.pushes() == [], "it has been pushed"
    assert kernel.mac(NEAR) == (OTHER if state == STALE else None)
    kernel.tell(NEAR, REACHABLE, OTHER)
    assert kernel.ways.pushes() == []


def test_an_answer_that_news_have_overtaken_does_not_count(kernel: Kernel) -> None:
    kernel.ways.doubt(FAR)
    late = NeighbourOf(4, GATEWAY)
    old = kernel.neighbours[GATEWAY]
    assert late in kernel.ways.questions()
    kernel.tell(GATEWAY, REACHABLE, THIRD)
    kernel.ways.answer(late, old)
    assert kernel.mac(FAR) == THIRD


def test_only_addresses_within_a_changed_prefix_are_looked_up_again(kernel: Kernel) -> None:
    assert kernel.ways.hear(Event(Change.ROUTE, prefix=ip_network("10.9.0.0/16")))
    assert kernel.ways.questions() == [RouteOf(FAR)]
    assert not kernel.ways.hear(Event(Change.ROUTE, prefix=ip_network("192.0.2.0/24")))
    assert kernel.ways.hear(Event(Change.ROUTE, prefix=ip_network("::/0")))
    assert kernel.ways.questions() == [RouteOf(FARTHER)]


@pytest.mark.parametrize("change", [Change.OVERFLOW, Change.ROUTE])
def test_what_may_be_about_anything_makes_every_route_questionable(kernel: Kernel, change: Change) -> None:
    assert kernel.ways.hear(Event(change))
    routes = {RouteOf(address) for address in (NEAR, FAR, FARTHER)}
    rest = {LinkOf(4), NeighbourOf(4, NEAR), NeighbourOf(4, GATEWAY)} if change is Change.OVERFLOW else set()
    assert set(kernel.ways.questions()) == routes | rest


def test_an_interface_that_goes_down_takes_its_hops_with_it_until_it_is_back(kernel: Kernel) -> None:
    assert not kernel.ways.hear(Event(Change.LINK, 9))
    for up in (False, True):
        kernel.link = replace(LINK, up=up, mac=THIRD)
        assert kernel.ways.hear(Event(Change.LINK, 4))
        kernel.settle()
        assert kernel.ways.moved
        assert (kernel.ways.hop(NEAR) is not None) == up
    hop = kernel.ways.hop(NEAR)
    assert hop is not None
    assert hop.source_mac == THIRD


def test_who_is_followed_no_longer_is_forgotten_with_his_gateway(kernel: Kernel) -> None:
    kernel.ways.follow([NEAR])
    assert kernel.ways.pushes() == []
    assert kernel.ways.hop(FAR) is None
    assert not kernel.tell(GATEWAY, STALE, OTHER)
    assert kernel.ways.pushes() == []


def test_a_doubted_way_is_asked_for_whole(kernel: Kernel) -> None:
    kernel.ways.doubt(FAR)
    assert kernel.settle() == [RouteOf(FAR), NeighbourOf(4, GATEWAY)]
    assert not kernel.ways.moved, "nothing was new"
