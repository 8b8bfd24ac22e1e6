from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lbnode.settings.node import NodeSettings, XdpMode
from lbnode.settings.source import BadSettingsError, load

BGP = {
    "local_as": 65001,
    "router_id": "10.0.1.11",
    "local_address": "10.0.1.11",
    "neighbors": [{"address": "10.0.1.1", "peer_as": 65000}],
}
GOOD = {
    "name": "n1",
    "fleet": "demo",
    "interface": "eth0",
    "address": "10.0.1.11",
    "store": {"kind": "zookeeper", "hosts": ["10.0.0.1:2181"]},
    "bgp": BGP,
}


def written(path: Path, **changes: object) -> Path:
    file = path / "lbnode.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **changes}))
    return file


def complaint(path: Path, **changes: object) -> str:
    with pytest.raises(BadSettingsError) as caught:
        load(NodeSettings, written(path, **changes))
    return str(caught.value)


def test_good_settings_have_the_defaults_of_the_documentation(tmp_path: Path) -> None:
    settings = load(NodeSettings, written(tmp_path))
    assert settings.xdp_mode is XdpMode.AUTO
    assert settings.rpc.listen == ("unix:/run/evenkeel/lbnode/rpc.sock",)
    assert settings.bgp is not None
    assert settings.bgp.neighbors[0].hold_time_s == 3
    assert [str(address) for address in settings.sources] == ["10.0.1.11"]


def test_the_tunnels_may_begin_at_an_address_of_each_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, address=["2001:db8:1::11", "10.0.1.11"], extra_addresses=["2001:db8:1::12"])
    sources = [str(address) for address in load(NodeSettings, file).sources]
    assert sources == ["10.0.1.11", "2001:db8:1::11", "2001:db8:1::12"]
    monkeypatch.setenv("EVENKEEL_ADDRESS", '["10.0.1.9", "2001:db8:1::9"]')
    assert [str(one) for one in load(NodeSettings, file).address] == ["10.0.1.9", "2001:db8:1::9"]
    monkeypatch.setenv("EVENKEEL_ADDRESS", "10.0.1.9")
    assert [str(one) for one in load(NodeSettings, file).address] == ["10.0.1.9"]


def test_sessions_may_be_opened_from_an_address_of_each_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path)
    for value, wanted in (
        ("10.0.1.9", ["10.0.1.9"]),
        ('["10.0.1.9", "2001:db8:1::9"]', ["10.0.1.9", "2001:db8:1::9"]),
    ):
        monkeypatch.setenv("EVENKEEL_BGP__LOCAL_ADDRESS", value)
        bgp = load(NodeSettings, file).bgp
        assert bgp is not None
        assert [str(address) for address in bgp.local_address] == wanted


def test_one_listening_address_needs_no_list(tmp_path: Path) -> None:
    assert load(NodeSettings, written(tmp_path, rpc={"listen": "127.0.0.1:7777"})).rpc.listen == (
        "127.0.0.1:7777",
    )


def test_the_environment_overrules_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENKEEL_NAME", "n9")
    monkeypatch.setenv("EVENKEEL_STORE__HOSTS", '["10.9.9.9:2181"]')
    settings = load(NodeSettings, written(tmp_path))
    assert settings.name == "n9"
    assert "10.9.9.9:2181" in str(settings.store)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interfce": "eth0"}, ["interfce", "unknown key", "did you mean interface?"]),
        ({"name": "../n1"}, ["name", "letters, digits"]),
        ({"address": "10.0.1.999"}, ["address", "10.0.1.999"]),
        ({"address": ["10.0.1.1", "10.0.1.2"]}, ["address", "10.0.1.1 and 10.0.1.2 are both IPv4"]),
        ({"address": []}, ["address", "one of each family"]),
        ({"store": {"kind": "etcd"}}, ["store", "etcd"]),
        ({"store": {"kind": "zookeeper", "hosts": []}}, ["store.hosts", "host:port"]),
        ({"store": {"kind": "file"}}, ["store.path", "missing"]),
        ({"xdp_mode": "fast"}, ["xdp_mode", "auto, native or generic"]),
        ({"bgp": {**BGP, "local_as": 0}}, ["bgp.local_as", "AS number"]),
        ({"bgp": {**BGP, "neighbors": []}}, ["bgp.neighbors", "routers"]),
        ({"rpc": {"listen": []}}, ["rpc.listen"]),
        ({"table_places": 0}, ["table_places", "buckets"]),
    ],
)
def test_what_is_wrong_is_named_with_file_field_and_remedy(
    tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    message = complaint(tmp_path, **changes)
    assert message.startswith(f"{tmp_path}/lbnode.yaml: ")
    for word in words:
        assert word in message


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, address="x", xdp_mode="y", table_places=-1).splitlines()) == 3


def test_a_missing_field_says_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "lbnode.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in GOOD.items() if key != "interface"}))
    with pytest.raises(
        BadSettingsError,
        match="interface: missing; set it, or EVENKEEL_INTERFACE: the interface on which the routers",
    ):
        load(NodeSettings, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettingsError, match=r"none\.yaml: No such file"):
        load(NodeSettings, tmp_path / "none.yaml")
