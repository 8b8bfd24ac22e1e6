from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lbnode.core.difference import compare, fixed_changes
from lbnode.model.fleet import (
    Backend,
    DesiredFleet,
    HashAlgorithm,
    HashMode,
    HealthCheck,
    OnAllFailed,
    Pool,
    PoolMember,
    Protocol,
    QuicIds,
    Vip,
    WrongPort,
)
from lbnode.model.ids import BackendName, PoolName, SlotNumber

from .fleets import VIP, WEB, fleet, members

BASE = fleet("b1", "b2")
POOL = BASE.pools[0]


def lines(new: DesiredFleet, old: DesiredFleet = BASE) -> list[str]:
    return [str(one) for one in compare(old, new)]


def with_pool(pool: Pool) -> DesiredFleet:
    return replace(BASE, pools=(pool,))


def test_equal_fleets_do_not_differ() -> None:
    assert lines(fleet("b1", "b2")) == []


def test_the_order_of_a_list_is_no_difference() -> None:
    pool = replace(BASE.pools[0], members=BASE.pools[0].members[::-1])
    assert lines(replace(BASE, backends=BASE.backends[::-1], pools=(pool,))) == []


def test_everything_is_new_in_an_empty_fleet() -> None:
    assert lines(BASE, DesiredFleet("demo")) == [
        "+ backend b1: 10.0.0.1, without agent",
        "+ backend b2: 10.0.0.2, without agent",
        "+ pool web: b1, b2; table_size 251, hash flow by multiply",
        "+ vip 192.0.2.10:80/tcp: to pool web",
    ]


def test_everything_goes_with_an_empty_file() -> None:
    gone = ["- backend b1", "- backend b2", "- pool web", "- vip 192.0.2.10:80/tcp"]
    assert lines(DesiredFleet("demo")) == gone


def test_a_new_backend_shows_in_the_fleet_and_in_its_pool() -> None:
    assert lines(fleet("b1", "b2", "b3")) == [
        "+ backend b3: 10.0.0.3, without agent",
        "+ pool web, backend b3: weight 1",
    ]


def test_a_backend_that_goes_shows_in_both_places() -> None:
    assert lines(fleet("b1")) == ["- backend b2", "- pool web, backend b2"]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            replace(POOL, health=HealthCheck(80)),
            "health off → tcp 80 every 1 s (timeout 1 s, rise 2, fall 3)",
        ),
        (replace(POOL, health_cap_percent=20), "health_cap_percent 50 → 20"),
        (replace(POOL, on_all_failed=OnAllFailed.KEEP), "on_all_failed withdraw → keep"),
        (replace(POOL, affinity_window_s=60.0), "affinity_window_s 3600 → 60"),
        (replace(POOL, quic=QuicIds(3)), "quic off → config_id 3"),
        (replace(POOL, flow_table=True, udp_idle_s=2.5), "flow_table off → on, udp_idle_s 30 → 2.5"),
    ],
)
def test_a_changed_setting_of_a_pool_shows_both_values(changed: Pool, line: str) -> None:
    assert lines(with_pool(changed)) == [f"~ pool web: {line}"]


def test_a_changed_place_in_a_pool_shows_weight_and_slot() -> None:
    moved = (PoolMember(BackendName("b1"), 3, SlotNumber(9)), *members("b2"))
    changed = lines(with_pool(replace(POOL, members=moved)))
    assert changed == ["~ pool web, backend b1: weight 1 → 3, slot automatic → 9"]


def test_a_changed_address_shows_both() -> None:
    backends = (Backend(BackendName("b1"), (ip_address("10.0.9.9"),)), BASE.backends[1])
    assert lines(replace(BASE, backends=backends)) == ["~ backend b1: address 10.0.0.1 → 10.0.9.9"]


def test_a_changed_vip_shows_what_changed() -> None:
    vip = replace(BASE.vips[0], pool=PoolName("api"), wrong_port=WrongPort.PASS)
    changed = lines(replace(BASE, vips=(vip,)))
    assert changed == ["~ vip 192.0.2.10:80/tcp: pool web → api, wrong_port drop → pass"]


def test_another_port_is_another_vip() -> None:
    vip = Vip(VIP, Protocol.UDP, 80, WEB)
    assert lines(replace(BASE, vips=(*BASE.vips, vip))) == ["+ vip 192.0.2.10:80/udp: to pool web"]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (replace(POOL, table_size=65537), "pool web: table_size 251 → 65537"),
        (replace(POOL, hash_mode=HashMode.SOURCE), "pool web: hash flow → source"),
        (replace(POOL, hash_algorithm=HashAlgorithm.SIPHASH), "pool web: hash_algorithm multiply → siphash"),
    ],
)
def test_what_is_fixed_for_a_pools_life_cannot_change(changed: Pool, line: str) -> None:
    refusal = fixed_changes(BASE, with_pool(changed))
    assert refusal is not None
    assert line in refusal.reason
    assert "make a new pool with another name" in refusal.remedy


def test_a_new_pool_may_have_any_table_size() -> None:
    other = replace(BASE.pools[0], name=PoolName("api"), table_size=65537)
    assert fixed_changes(BASE, replace(BASE, pools=(*BASE.pools, other))) is None
