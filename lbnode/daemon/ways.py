"""What is known of the ways to addresses: routes, links and neighbours, as asked for and as heard of. No I/O.

Whoever owns it asks the kernel the `questions`, hands the answers in, and lets it `hear` all events. An event makes
only those things questionable that it is about, and one of a neighbour says itself what is new: neighbours turn stale
and fresh again all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lbnode.model.ids import IPAddress
from lbnode.model.nexthop import NextHop
from lbnode.netdev.events import Change, Event
from lbnode.netdev.links import Link
from lbnode.netdev.neighbours import Neighbour
from lbnode.netdev.next_hops import Hop, next_hop


@dataclass(frozen=True, slots=True)
class RouteOf:
    """Where do packets to this address leave?"""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class LinkOf:
    """What is this interface?"""

    ifindex: int


@dataclass(frozen=True, slots=True)
class NeighbourOf:
    """What does the kernel have of this neighbour?"""

    ifindex: int
    address: IPAddress


Question = RouteOf | LinkOf | NeighbourOf
Answer = Hop | Link | Neighbour | None


class Ways:
    """The ways to each followed address. `moved`: some next hop may be another one than before it was reset."""

    def __init__(self) -> None:
        self._routes: dict[IPAddress, Hop | None] = {}
        self._links: dict[int, Link] = {}
        self._neighbours: dict[NeighbourOf, Neighbour] = {}
        self._open: dict[Question, None] = {}
        self._asked: set[Question] = set()
        self.moved = False

    def follow(self, addresses: Iterable[IPAddress]) -> None:
        """Know the ways to exactly these addresses."""
        wanted = set(addresses)
        for address in self._routes.keys() - wanted:
            del self._routes[address]
            self._open.pop(RouteOf(address), None)
        for address in wanted - self._routes.keys():
            self._routes[address] = None
            self._open[RouteOf(address)] = None

    def hop(self, address: IPAddress) -> NextHop | None:
        """Return the next hop; None while it is not known, or when there is none."""
        route = self._routes.get(address)
        if route is None:
            return None
        link = self._links.get(route.ifindex)
        neighbour = self._neighbours.get(NeighbourOf(route.ifindex, route.neighbour))
        return next_hop(route, link, neighbour) if link is not None and neighbour is not None else None

    def questions(self) -> list[Question]:
        """Return what is to be asked now; each is returned once, until an event makes it questionable again."""
        asked = list(self._open)
        self._open.clear()
        self._asked.update(asked)
        return asked

    def answer(self, question: Question, answer: Answer) -> None:
        """Take the kernel's answer, unless news have overtaken it. None: there is no such thing."""
        if question not in self._asked:
            return
        self._asked.discard(question)
        match question:
            case RouteOf(address):
                self._route_is(address, answer if isinstance(answer, Hop) else None)
            case LinkOf(ifindex):
                self._links.pop(ifindex, None)
                if isinstance(answer, Link):
                    self._links[ifindex] = answer
                self.moved = True
            case NeighbourOf(ifindex, address):
                self._neighbour_is(answer if isinstance(answer, Neighbour) else Neighbour(ifindex, address))

    def hear(self, event: Event) -> bool:
        """Take news of the kernel; say whether they are about any of the ways."""
        match event.change:
            case Change.NEIGHBOUR:
                return self._hear_of_neighbour(event.neighbour)
            case Change.ROUTE:
                return self._doubt([RouteOf(each) for each in self._routes if _is_about(event, each)])
            case Change.LINK if event.ifindex in self._links:
                routes = [RouteOf(each) for each in self._routes]
                near = [each for each in self._neighbours if each.ifindex == event.ifindex]
                return self._doubt([LinkOf(event.ifindex), *near, *routes])
            case Change.OVERFLOW:
                return self._doubt(
                    [*map(RouteOf, self._routes), *map(LinkOf, self._links), *self._neighbours]
                )
            case _:
                return False

    def doubt(self, address: IPAddress) -> None:
        """Let the way to an address be asked for again, without news."""
        route = self._routes.get(address)
        self._doubt([RouteOf(address)])
        if route is not None:
            self._doubt([NeighbourOf(route.ifindex, route.neighbour)])

    def pushes(self) -> list[Neighbour]:
        """Return the neighbours that the kernel must be pushed to find or confirm; they then count as pushed."""
        self._forget_unused()
        idle = [(key, each) for key, each in self._neighbours.items() if not each.is_fresh]
        waiting = [(key, each) for key, each in idle if key not in self._open and key not in self._asked]
        for key, each in waiting:
            self._neighbours[key] = each.after_push
        return [each for _, each in waiting]

    def _doubt(self, questions: list[Question]) -> bool:
        for question in questions:
            self._asked.discard(question)
            self._open[question] = None
        return bool(questions)

    def _route_is(self, address: IPAddress, route: Hop | None) -> None:
        if address not in self._routes:
            return
        self.moved |= self._routes[address] != route
        self._routes[address] = route
        if route is None:
            return
        if route.ifindex not in self._links and LinkOf(route.ifindex) not in self._asked:
            self._open[LinkOf(route.ifindex)] = None
        key = NeighbourOf(route.ifindex, route.neighbour)
        if key not in self._neighbours:
            self._neighbours[key] = Neighbour(route.ifindex, route.neighbour)
            self._open[key] = None

    def _hear_of_neighbour(self, news: Neighbour | None) -> bool:
        if news is None:
            return False
        key = NeighbourOf(news.ifindex, news.address)
        if key not in self._neighbours:
            return False
        self._asked.discard(key)
        self._open.pop(key, None)
        return self._neighbour_is(news)

    def _neighbour_is(self, news: Neighbour) -> bool:
        """Remember it; say whether that leads to anything."""
        key = NeighbourOf(news.ifindex, news.address)
        before = self._neighbours.get(key)
        if before is None:
            return False
        self._neighbours[key] = news
        has_moved = before.usable != news.usable
        self.moved |= has_moved
        return has_moved or not news.is_fresh

    def _forget_unused(self) -> None:
        used = {NeighbourOf(hop.ifindex, hop.neighbour) for hop in self._routes.values() if hop is not None}
        for key in self._neighbours.keys() - used:
            del self._neighbours[key]
            self._open.pop(key, None)
        for ifindex in self._links.keys() - {key.ifindex for key in used}:
            del self._links[ifindex]


def _is_about(event: Event, address: IPAddress) -> bool:
    prefix = event.prefix
    return prefix is None or (prefix.version == address.version and address in prefix)
