from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from bgp.errors import RouteError
from bgp.routes import GRACEFUL_SHUTDOWN, Community, Route, RouteSet

ONE = Route.to(ip_address("192.0.2.1"))
TWO = Route.to(ip_address("192.0.2.2"))
SIX = Route.to(ip_address("2001:db8::1"))


def test_a_route_to_an_address_is_a_host_route() -> None:
    assert ONE.prefix == ip_network("192.0.2.1/32")
    assert SIX.prefix == ip_network("2001:db8::1/128")


def test_the_graceful_shutdown_community_is_that_of_the_rfc() -> None:
    assert str(GRACEFUL_SHUTDOWN) == "65535:0"
    assert Community.parse("65535:0") == GRACEFUL_SHUTDOWN


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "1:2:3", "a:b", "-1:2", "1:65536", "70000:1"])
def test_what_is_no_community_is_refused_by_name(text: str) -> None:
    with pytest.raises(RouteError, match="community"):
        Community.parse(text)


def test_a_set_has_the_order_of_prefixes_whatever_the_order_of_its_making() -> None:
    assert list(RouteSet.of([SIX, TWO, ONE])) == [ONE, TWO, SIX]
    assert RouteSet.of([ONE, TWO, ONE]) == RouteSet.of([TWO, ONE])


def test_two_different_routes_for_one_prefix_are_refused_by_name() -> None:
    marked = Route.to(ip_address("192.0.2.1"), [GRACEFUL_SHUTDOWN])
    with pytest.raises(RouteError, match=r"192\.0\.2\.1/32"):
        RouteSet.of([ONE, marked])


def test_the_difference_of_equal_sets_is_nothing() -> None:
    routes = RouteSet.of([ONE, SIX])
    difference = routes.difference(routes.by_prefix)
    assert (difference.announce, difference.withdraw) == ((), ())


def test_a_difference_announces_what_is_new_and_withdraws_what_is_gone() -> None:
    difference = RouteSet.of([TWO, SIX]).difference(RouteSet.of([ONE, TWO]).by_prefix)
    assert (difference.announce, difference.withdraw) == ((SIX,), (ONE.prefix,))


def test_a_change_of_communities_announces_and_does_not_withdraw() -> None:
    routes = RouteSet.of([ONE, TWO])
    marked = RouteSet.of([Route(each.prefix, frozenset({GRACEFUL_SHUTDOWN})) for each in routes])
    difference = marked.difference(routes.by_prefix)
    assert [str(route) for route in difference.announce] == [
        "192.0.2.1/32 [65535:0]",
        "192.0.2.2/32 [65535:0]",
    ]
    assert difference.withdraw == ()


def test_what_nobody_knows_is_announced_anew_or_withdrawn() -> None:
    unknown = {ONE.prefix: None, TWO.prefix: None}
    difference = RouteSet.of([ONE]).difference(unknown)
    assert (difference.announce, difference.withdraw) == ((ONE,), (TWO.prefix,))
