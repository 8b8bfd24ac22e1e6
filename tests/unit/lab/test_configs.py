"""What the lab writes is what the daemons read."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
import yaml

from lbnode.backend.settings import BackendSettings
from lbnode.lab import configs
from lbnode.lab.errors import LabError
from lbnode.lab.plan import Plan, Role, Store
from lbnode.model.fleet import Protocol
from lbnode.settings.fleet import read_fleet
from lbnode.settings.node import NodeSettings

HERE = Path("/run/evenkeel/labs/demo/n1")
STORE = Path("/run/evenkeel/labs/demo/store")


def test_a_node_can_read_its_settings() -> None:
    plan = Plan("demo")

    settings = NodeSettings.model_validate(configs.node_config(plan, plan.host("n1"), HERE, STORE))

    assert settings.address == (IPv4Address("10.72.0.11"),)
    assert settings.count_buckets
    assert settings.bgp is not None
    assert settings.bgp.neighbors[0].hold_time_s == 3
    assert settings.rpc.listen == (configs.rpc_address(HERE),)


def test_in_dual_stack_everybody_has_both_families_and_every_pool_vips_of_both() -> None:
    plan = Plan("demo", backends=2, dual_stack=True)

    node = NodeSettings.model_validate(configs.node_config(plan, plan.host("n1"), HERE, STORE))
    fleet = read_fleet(yaml.safe_dump(configs.fleet_config(plan)))

    both = (IPv4Address("10.72.0.11"), IPv6Address("2001:db8:72::11"))
    assert node.bgp is not None
    assert (node.address, node.bgp.local_address) == (both, both)
    assert [[end.version for end in backend.addresses] for backend in fleet.backends] == [[4, 6], [4, 6]]
    tunnels = {pool.name: pool.tunnel.version for pool in fleet.pools}
    assert {(vip.address.version, tunnels[vip.pool]) for vip in fleet.vips} == {
        (4, 4),
        (4, 6),
        (6, 4),
        (6, 6),
    }


def test_a_backend_can_read_its_settings() -> None:
    plan = Plan("demo")

    settings = BackendSettings.model_validate(configs.backend_config(plan, plan.host("b2"), HERE, STORE))

    assert (settings.name, settings.address) == ("b2", (IPv4Address("10.73.0.12"),))
    assert settings.path_mtu == 1500


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (
            Store.ZOOKEEPER,
            {"kind": "zookeeper", "hosts": ("10.74.0.10:2181",), "secret_file": None, "tls": None},
        ),
        (Store.FILE, {"kind": "file", "path": STORE}),
    ],
)
def test_all_daemons_of_a_lab_share_one_store(store: Store, expected: dict[str, object]) -> None:
    plan = Plan("demo", store=store)
    node = NodeSettings.model_validate(configs.node_config(plan, plan.host("n1"), HERE, STORE))
    backend = BackendSettings.model_validate(configs.backend_config(plan, plan.host("b1"), HERE, STORE))

    assert node.store == backend.store
    assert node.store.model_dump() == expected


def test_the_pool_holds_every_backend_and_carries_all_vips() -> None:
    plan = Plan("demo", backends=3)

    fleet = read_fleet(yaml.safe_dump(configs.fleet_config(plan)))

    assert [backend.name for backend in fleet.backends] == [host.name for host in plan.of(Role.BACKEND)]
    assert [member.backend for member in fleet.pools[0].members] == ["b1", "b2", "b3"]
    assert {(vip.protocol, vip.port) for vip in fleet.vips} == {
        (Protocol.TCP, 80),
        (Protocol.TCP, 7000),
        (Protocol.UDP, 7002),
    }


def test_a_lab_may_have_backends_without_agent_and_settings_of_its_pool() -> None:
    plan = Plan("demo", backends=3, without_agent=2, pool_settings={"flow_table": True, "udp_idle_s": 1.5})

    fleet = read_fleet(yaml.safe_dump(configs.fleet_config(plan)))

    assert [backend.agent for backend in fleet.backends] == [False, False, True]
    assert (fleet.pools[0].flow_table, fleet.pools[0].udp_idle_s) == (True, 1.5)
    with pytest.raises(LabError, match=r"backends without agent: 4 is not in 0\.\.3"):
        Plan("demo", backends=3, without_agent=4)


def test_readme_asks_a_node_of_the_lab_where_it_answers() -> None:
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    assert f"lbctl --node {configs.rpc_address(HERE)} status" in readme
