"""Settings from the environment: what is wrong there is laid to the variable, with the line that would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lbnode.backend.settings import BackendSettings
from lbnode.settings.node import NodeSettings
from lbnode.settings.source import BadSettingsError, FileSettings, load

COMPOSE = Path(__file__).resolve().parents[3] / "docker-compose.yml"
GOOD = {
    "name": "m1",
    "fleet": "demo",
    "interface": "eth0",
    "address": "10.0.1.11",
    "store": {"kind": "zookeeper", "hosts": ["10.0.0.1:2181"]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    return path


def complaints(file: Path, kind: type[FileSettings] = NodeSettings) -> list[str]:
    with pytest.raises(BadSettingsError) as caught:
        load(kind, file)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("value", ["zk1:2181,zk2:2181", '["zk1:2181"', "12"])
def test_a_list_that_is_not_written_as_one_is_shown_how(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EVENKEEL_STORE__HOSTS", value)
    (line,) = complaints(file)
    assert line.startswith("environment: EVENKEEL_STORE__HOSTS: Input should be a valid tuple, found ")
    assert "a list of host:port of ZooKeeper servers; lists are JSON there: EVENKEEL_STORE__HOSTS='[" in line


def test_the_line_that_would_be_right_has_the_words_that_were_given(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENKEEL_JOIN", "web,api")
    (line,) = complaints(file, BackendSettings)
    assert line.endswith("""lists are JSON there: EVENKEEL_JOIN='["web", "api"]'""")


def test_a_field_that_takes_one_or_a_list_takes_one_from_a_variable_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENKEEL_RPC__LISTEN", "unix:/run/a.sock")
    assert load(NodeSettings, file).rpc.listen == ("unix:/run/a.sock",)
    monkeypatch.setenv("EVENKEEL_RPC__LISTEN", '["unix:/run/a.sock", "127.0.0.1:7946"]')
    assert load(NodeSettings, file).rpc.listen == ("unix:/run/a.sock", "127.0.0.1:7946")


def test_what_is_missing_in_a_mapping_is_laid_to_its_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENKEEL_RPC__TLS", '{"certificate": "a.crt", "key": "a.key"}')
    (line,) = complaints(file)
    assert line.startswith("environment: EVENKEEL_RPC__TLS: ca: missing; set it, or EVENKEEL_RPC__TLS__CA: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EVENKEEL_ADRESS", "EVENKEEL_ADDRESS"),
        ("EVENKEEL_STORE_HOSTS", "EVENKEEL_STORE__HOSTS"),
        ("EVENKEEL_METRICS_LISTEN", "EVENKEEL_METRICS__LISTEN"),
    ],
)
def test_a_slip_of_the_hand_is_not_passed_over(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert complaints(file) == [f"environment: {name}: no such variable; did you mean {meant}?"]
    monkeypatch.setenv("EVENKEEL_XDP_MODE", "fast")
    assert [line.split(": ")[1] for line in complaints(file)] == [name, "EVENKEEL_XDP_MODE"]


@pytest.mark.parametrize("kind", [NodeSettings, BackendSettings])
def test_variables_that_others_read_are_nobodys_slip(
    file: Path, monkeypatch: pytest.MonkeyPatch, kind: type[FileSettings]
) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    others = {name for service in services.values() for name in service.get("environment", {})}
    others |= {"EVENKEEL_NODE", "EVENKEEL_CERT", "EVENKEEL_KEY", "EVENKEEL_CA", "EVENKEEL_CONFIG"}
    others |= {"EVENKEEL_SERVICE_PORT", "EVENKEEL_FLEET_DIR", "EVENKEEL_RESTART"}
    own = tuple(f"EVENKEEL_{field.upper()}" for field in kind.model_fields)
    for name in others:
        if not name.startswith(own):
            monkeypatch.setenv(name, "anything")
    monkeypatch.setenv("EVENKEEL_FLEET_DIR", "anything")
    assert load(kind, file).model_dump()["name"] == "m1"
