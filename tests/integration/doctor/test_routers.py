"""How far the doctor gets with a router whose session is not up, over a real cable."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from lbnode.doctor.checks.traffic import check_routers
from lbnode.doctor.findings import Finding
from lbnode.doctor.gather.fleet import BGP_PORT, routers
from lbnode.settings.node import BgpSettings
from tests.integration import cable as cables
from tests.integration.cable import Cable, inside

FAR, NOBODY = "10.0.0.1", "10.0.0.99"


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    with cables.laid() as laid:
        yield laid


def on_router(cable: Cable, address: str, session: str = "down") -> tuple[Finding, ...]:
    """What is said of a router at `address`, seen from the near end."""
    own = {"local_as": 65001, "router_id": "10.0.0.2", "local_address": "10.0.0.2"}
    bgp = BgpSettings.model_validate({**own, "neighbors": [{"address": address, "peer_as": 65000}]})
    return check_routers(inside(cable.near, lambda: asyncio.run(routers(bgp, {address: session})))).findings


def test_a_session_that_is_up_is_good(cable: Cable) -> None:
    assert on_router(cable, FAR, "up") == ()


def test_a_machine_that_speaks_no_bgp_refuses(cable: Cable) -> None:
    (found,) = on_router(cable, FAR)
    assert "port 179: Connection refused" in found.what


def test_an_address_that_nobody_has_does_not_answer(cable: Cable) -> None:
    (found,) = on_router(cable, NOBODY)
    assert "port 179: no answer within" in found.what or "No route to host" in found.what


def test_a_router_that_takes_connections_disagrees_about_bgp(cable: Cable) -> None:
    with inside(cable.far, lambda: socket.create_server(("", BGP_PORT))):
        (found,) = on_router(cable, FAR)
    assert "so the two do not agree on BGP" in found.what
    assert "neighbor 10.0.0.2 as 65001" in found.mend
