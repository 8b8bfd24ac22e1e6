"""Who a container is: from its surroundings to settings that the daemons take."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from lbnode.backend.settings import BackendSettings
from lbnode.container.errors import ContainerError
from lbnode.container.identity import Kind, Surroundings, check_names, router_names, settings
from lbnode.container.surroundings import check_fleet_file, check_rights, resolve
from lbnode.settings.node import NodeSettings, XdpMode
from lbnode.settings.source import load
from lbnode.settings.store import ZooKeeperSettings

SECURE = Path(__file__).parents[3] / "deploy/compose.secure.yml"
AROUND = Surroundings("4f1c2d3e4b5a", "eth0", IPv4Address("10.1.0.7"), (IPv4Address("10.1.0.2"),))
COMPOSE = {
    "EVENKEEL_FLEET": "demo",
    "EVENKEEL_STORE__KIND": "zookeeper",
    "EVENKEEL_STORE__HOSTS": '["zk1:2181", "zk2:2181", "zk3:2181"]',
    "EVENKEEL_ROUTER": "fleet-router",
    "EVENKEEL_ROUTER_AS": "65000",
    "EVENKEEL_BGP__LOCAL_AS": "65001",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in COMPOSE.items():
        monkeypatch.setenv(name, value)
    return COMPOSE


def written(path: Path, kind: Kind) -> Path:
    file = path / "settings.yaml"
    file.write_text(json.dumps(settings(kind, AROUND, COMPOSE)))
    return file


def test_a_node_finds_its_name_its_address_and_its_router(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    found = load(NodeSettings, written(tmp_path, Kind.NODE))
    assert (found.name, found.interface, found.address) == (
        "4f1c2d3e4b5a",
        "eth0",
        (IPv4Address("10.1.0.7"),),
    )
    assert found.bgp is not None
    assert (found.bgp.local_as, str(found.bgp.router_id)) == (65001, "10.1.0.7")
    assert [(str(one.address), one.peer_as) for one in found.bgp.neighbors] == [("10.1.0.2", 65000)]
    assert found.leave_on_stop
    assert found.xdp_mode is XdpMode.GENERIC
    assert found.metrics is not None


def with_every_door_closed(service: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a service of deploy/compose.secure.yml, set."""
    said = yaml.safe_load(SECURE.read_text())["services"][service]["environment"]
    for name, value in {**COMPOSE, **said}.items():
        monkeypatch.setenv(name, value)
    return {**COMPOSE, **said}


def test_a_node_with_every_door_closed_finds_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(settings(Kind.NODE, AROUND, with_every_door_closed("node", monkeypatch))))
    found = load(NodeSettings, file)
    assert found.bgp is not None
    assert [str(one.md5_password_file) for one in found.bgp.neighbors] == ["/run/secrets/bgp-password"]
    assert found.rpc.tls is not None
    assert str(found.rpc.tls.revoked) == "/run/secrets/revoked"
    assert isinstance(found.store, ZooKeeperSettings)
    assert found.store.tls is not None
    assert str(found.store.secret_file) == "/run/secrets/store-nodes.yaml"
    assert {host.partition(":")[2] for host in found.store.hosts} == {"2281"}


def test_a_backend_with_every_door_closed_finds_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_every_door_closed("backend", monkeypatch)
    store = load(BackendSettings, written(tmp_path, Kind.BACKEND)).store
    assert isinstance(store, ZooKeeperSettings)
    assert store.tls is not None
    assert str(store.tls.certificate) == "/run/secrets/backend.crt"
    assert str(store.secret_file) == "/run/secrets/store-backends.yaml"


def test_a_backend_finds_its_name_and_its_address(tmp_path: Path, environment: dict[str, str]) -> None:
    found = load(BackendSettings, written(tmp_path, Kind.BACKEND))
    assert (found.name, found.interface, found.address) == (
        "4f1c2d3e4b5a",
        "eth0",
        (IPv4Address("10.1.0.7"),),
    )
    assert found.leave_on_stop


def test_a_variable_overrules_what_was_found(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENKEEL_XDP_MODE", "native")
    monkeypatch.setenv("EVENKEEL_JOIN", '["web", "api"]')
    found = load(BackendSettings, written(tmp_path, Kind.BACKEND))
    assert (found.xdp_mode, found.join) == ("native", ("web", "api"))


def test_several_routers_have_commas_between() -> None:
    assert router_names({"EVENKEEL_ROUTER": "r1, r2,"}) == ["r1", "r2"]


@pytest.mark.parametrize("environment", [{}, {"EVENKEEL_ROUTER": " , "}])
def test_without_a_router_the_variable_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(ContainerError, match=r"^EVENKEEL_ROUTER: missing; set it to the router's name"):
        router_names(environment)


@pytest.mark.parametrize(("value", "found"), [("", "missing"), ("AS65000", "found 'AS65000'")])
def test_an_as_number_that_is_none_is_named(value: str, found: str) -> None:
    with pytest.raises(ContainerError, match=f"^EVENKEEL_ROUTER_AS: {found}; set it to"):
        settings(Kind.NODE, AROUND, {"EVENKEEL_ROUTER_AS": value})


def test_missing_rights_are_named_with_the_line_that_gives_them() -> None:
    check_rights("Name:\tpython\nCapEff:\t0000000000201000\n")
    with pytest.raises(
        ContainerError, match=r"missing: SYS_ADMIN; give the service `cap_add: \[SYS_ADMIN\]`"
    ):
        check_rights("CapEff:\t0000000000001000\n")


def test_a_fleet_file_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    check_fleet_file("")
    (tmp_path / "fleet.yaml").touch()
    check_fleet_file(str(tmp_path / "fleet.yaml"))
    with pytest.raises(
        ContainerError, match=r"^EVENKEEL_FLEET_FILE: .*/fleets.yaml: not there, .*mount a folder"
    ):
        check_fleet_file(str(tmp_path / "fleets.yaml"))


def test_a_router_that_the_engine_knows_in_a_moment_is_waited_for() -> None:
    assert resolve("127.0.0.1", lambda: 0.0, lambda _: None) == IPv4Address("127.0.0.1")


def test_a_router_that_nobody_knows_is_given_up_and_named() -> None:
    waited: list[float] = []
    with pytest.raises(ContainerError, match=r"^EVENKEEL_ROUTER: no-such-router\.invalid: .*on a network of"):
        resolve("no-such-router.invalid", lambda: sum(waited), lambda seconds: waited.append(seconds * 50))
    assert sum(waited) >= 30


@pytest.mark.parametrize("name", ["EVENKEEL_ROUTTER", "EVENKEEL_ROUTERAS", "EVENKEEL_BGP_PASSWORDFILE"])
def test_a_variable_of_containers_with_a_slip_of_the_hand_is_refused(name: str) -> None:
    with pytest.raises(ContainerError, match=f"{name}: no such variable; did you mean EVENKEEL_"):
        check_names({**COMPOSE, name: "x"})


def test_the_compose_files_own_variables_are_no_slips() -> None:
    for file in (SECURE, SECURE.parents[1] / "docker-compose.yml"):
        for service in yaml.safe_load(file.read_text())["services"].values():
            check_names(service.get("environment", {}))
