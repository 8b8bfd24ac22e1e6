"""Settings of the agent: what is taken, and what each mistake is told."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lbnode.backend.settings import BackendSettings
from lbnode.settings.source import BadSettingsError, load
from lbnode.settings.store import FileStoreSettings, ZooKeeperSettings

GOOD = """
name: b1
address: 10.0.1.1
interface: eth0
store: {kind: file, path: /var/lib/evenkeel/store}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "lbbackend.yaml"
    path.write_text(GOOD)
    return path


def complaint(config: Path, text: str) -> str:
    config.write_text(text)
    with pytest.raises(BadSettingsError) as caught:
        load(BackendSettings, config)
    return str(caught.value).replace(str(config), "FILE")


def test_a_small_file_is_enough(config: Path) -> None:
    settings = load(BackendSettings, config)
    assert settings.address == (IPv4Address("10.0.1.1"),)
    assert settings.store == FileStoreSettings(kind="file", path=Path("/var/lib/evenkeel/store"))
    assert settings.xdp_mode == "auto"
    assert settings.path_mtu is None


def test_the_environment_overrules_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENKEEL_ADDRESS", "10.0.1.9")
    monkeypatch.setenv("EVENKEEL_STORE__HOSTS", '["10.0.0.9:2181"]')
    config.write_text(
        GOOD.replace("kind: file, path: /var/lib/evenkeel/store", "kind: zookeeper, hosts: ['a:1']")
    )
    settings = load(BackendSettings, config)
    assert settings.address == (IPv4Address("10.0.1.9"),)
    assert settings.store == ZooKeeperSettings(kind="zookeeper", hosts=("10.0.0.9:2181",))


def test_one_nested_field_can_be_overruled(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENKEEL_STORE__PATH", "/srv/fleet")
    assert load(BackendSettings, config).store == FileStoreSettings(kind="file", path=Path("/srv/fleet"))


def test_a_wrong_variable_is_named_instead_of_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENKEEL_PATH_MTU", "12")
    assert complaint(config, GOOD).startswith("environment: EVENKEEL_PATH_MTU: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "adress: 10.0.0.1\n", "FILE: adress: unknown key; did you mean address?"),
        (GOOD + "colour: blue\n", "FILE: colour: unknown key; known keys: name, fleet, address, "),
        (
            GOOD.replace("10.0.1.1", "10.0.1.300"),
            "FILE: address: not an IP address, found '10.0.1.300': where it takes GRE",
        ),
        (GOOD.replace("name: b1\n", ""), "FILE: name: missing; set it, or EVENKEEL_NAME: the backend's name"),
        (GOOD.replace("b1", "../b1"), "FILE: name: String should match pattern"),
        (GOOD + "path_mtu: 100\n", "FILE: path_mtu: Input should be greater than or equal to 576, found 100"),
        (
            GOOD + "xdp_mode: fast\n",
            "FILE: xdp_mode: Input should be 'auto', 'native' or 'generic', found 'fast'",
        ),
        (GOOD.replace("kind: file", "kind: etcd"), "FILE: store: Input tag 'etcd'"),
        (GOOD.replace("path:", "pth:"), "FILE: store.pth: unknown key; did you mean path?"),
        (
            GOOD.replace("path: /var/lib/evenkeel/store", "path: 3"),
            "FILE: store.path: Input is not a valid path",
        ),
        (GOOD + "name: b2\n", "FILE: not YAML: key 'name' stands twice; remove one"),
        ("[name", "FILE: not YAML: "),
        ("- name", "FILE: expected `key: value` lines, found list"),
    ],
)
def test_a_mistake_is_told_with_file_field_and_remedy(config: Path, text: str, words: str) -> None:
    assert words in complaint(config, text)


def test_every_mistake_is_told_at_once(config: Path) -> None:
    assert len(complaint(config, "").splitlines()) == 4


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettingsError, match=r"none\.yaml: No such file or directory; --config"):
        load(BackendSettings, tmp_path / "none.yaml")
