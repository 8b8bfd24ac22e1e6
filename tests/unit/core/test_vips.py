from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lbnode.core.vips import lost_flows
from lbnode.model.fleet import DesiredFleet
from lbnode.model.ids import PoolName
from lbnode.model.vip import ANY_PORT, Protocol, Vip, VipAddress, VipPort

HOST, PREFIX = ip_address("203.0.113.9"), ip_network("203.0.113.0/24")


def vip(address: VipAddress, port: VipPort, pool: str) -> Vip:
    return Vip(address, Protocol.TCP, port, PoolName(pool))


HERE = vip(HOST, 80, "web")
WHOLE = vip(PREFIX, ANY_PORT, "web")
ELSEWHERE = vip(HOST, 80, "api")


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ([HERE], [HERE], []),
        ([HERE], [], [(HERE, "ends")]),
        ([HERE], [ELSEWHERE], [(HERE, "moves to pool api")]),
        ([HERE, WHOLE], [WHOLE], []),
        ([ELSEWHERE, WHOLE], [WHOLE], [(ELSEWHERE, "moves to pool web")]),
        ([WHOLE], [WHOLE, HERE], []),
        ([WHOLE], [WHOLE, ELSEWHERE], [(WHOLE, "loses 203.0.113.9:80/tcp to pool api")]),
        ([WHOLE, ELSEWHERE], [WHOLE, ELSEWHERE], []),
        ([WHOLE], [HERE], [(WHOLE, "ends")]),
    ],
)
def test_a_vip_loses_flows_when_it_ends_or_moves_or_another_goes_before_it(
    old: list[Vip], new: list[Vip], lost: list[tuple[Vip, str]]
) -> None:
    before, after = (DesiredFleet("demo", vips=tuple(vips)) for vips in (old, new))
    assert list(lost_flows(before, after)) == lost
