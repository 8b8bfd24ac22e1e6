"""From a node's settings to its BGP sessions: which address each is opened from, and which routes it carries."""

from __future__ import annotations

import pytest

from bgp.config import Neighbor
from bgp.errors import SettingsError
from lbnode.app.build import speaker_settings
from lbnode.settings.node import BgpSettings

OWN4, OWN6 = "10.0.1.11", "2001:db8:1::11"
ROUTER4, ROUTER6 = "10.0.1.1", "2001:db8:1::1"


def neighbor(own: object, router: str, **changes: object) -> Neighbor:
    """The session with one router."""
    written = {
        "local_as": 65001,
        "router_id": OWN4,
        "local_address": own,
        "neighbors": [{"address": router, "peer_as": 65000, **changes}],
    }
    (found,) = speaker_settings(BgpSettings.model_validate(written)).neighbors
    return found


@pytest.mark.parametrize(
    ("router", "own", "other"), [(ROUTER4, OWN4, OWN6), (ROUTER6, OWN6, OWN4)], ids=["IPv4", "IPv6"]
)
def test_with_an_address_of_each_family_every_session_carries_the_routes_of_both(
    router: str, own: str, other: str
) -> None:
    found = neighbor([OWN4, OWN6], router)
    assert (str(found.local_address), str(found.next_hop)) == (own, other)
    assert (found.carries(4), found.carries(6)) == (True, True)


def test_with_one_address_a_session_carries_its_own_family_unless_a_next_hop_is_given() -> None:
    assert not neighbor(OWN4, ROUTER4).carries(6)
    assert str(neighbor([OWN4, OWN6], ROUTER4, next_hop="2001:db8:1::99").next_hop) == "2001:db8:1::99"
    assert neighbor(OWN4, ROUTER4, next_hop=OWN6).carries(6)


def test_a_router_of_a_family_of_which_this_node_has_no_address_is_refused_by_name() -> None:
    with pytest.raises(
        SettingsError, match=rf"neighbors\.{ROUTER6}\.local_address: {OWN4} and the router are"
    ):
        neighbor(OWN4, ROUTER6)
