from __future__ import annotations

import asyncio
from ipaddress import ip_address

from lbnode.backend.plan import HostState, ServedVip
from lbnode.backend.watch import TURNED_OFF, Watch
from lbnode.model.flows import FlowReport
from lbnode.model.ids import PoolName
from lbnode.model.vip import Protocol
from tests.unit.backend.fleets import B1, ID1, epoch, view

PATIENCE_S = 5.0


async def answer(_report: FlowReport) -> None:
    raise AssertionError("nobody asked")


async def test_it_ends_when_closed_in_the_moment_in_which_there_is_news() -> None:
    watch = Watch(B1, True, (), answer, lambda: None)
    watch.start()
    for _ in range(20):
        await asyncio.sleep(0)
    watch.look(view(epoch(1, ID1)), HostState(self_id=ID1), {})
    async with asyncio.timeout(PATIENCE_S):
        await watch.close()


def test_a_vip_without_second_chance_is_named_as_operators_write_it() -> None:
    watch = Watch(B1, False, (), answer, lambda: None)
    vip = ServedVip(ip_address("2001:db8::10"), Protocol.TCP, 80, PoolName("web"))
    watch.look(view(epoch(1, ID1)), HostState(vips=frozenset({vip})), {})
    assert watch.no_second_chance == {"[2001:db8::10]:80": TURNED_OFF}
