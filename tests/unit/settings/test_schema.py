"""The JSON Schemas for editors: they take what the readers take, and mark what the readers refuse."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml

from lbnode.cli.ctl_config import Kind, schema_of
from lbnode.cli.reference import pages
from lbnode.settings.fleet import FleetFileError, read_fleet

ROOT = Path(__file__).resolve().parents[3]
FLEET_FILES = sorted((ROOT / "deploy").rglob("fleet.yaml"))
FLEET = (ROOT / "deploy" / "examples" / "fleet.yaml").read_text()


def is_taken(kind: Kind, document: object) -> bool:
    try:
        fastjsonschema.validate(schema_of(kind), document)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def is_read(document: object) -> bool:
    try:
        read_fleet(yaml.safe_dump(document))
    except FleetFileError:
        return False
    return True


def changed(path: str, value: object) -> Any:
    """The example fleet with one value changed; None takes the key away."""
    document = copy.deepcopy(yaml.safe_load(FLEET))
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[int(part) if part.isdecimal() else part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize("path", FLEET_FILES, ids=lambda path: path.parent.name)
def test_every_fleet_file_that_is_shipped_is_taken(path: Path) -> None:
    assert is_taken(Kind.FLEET, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pools.0.backends", ["b1", {"name": "b2", "weight": 65535}]),
        ("pools.0.health", "off"),
        ("pools.0.health", False),
        ("pools.0.health", {"port": 8080}),
        ("pools.0.join", "auto"),
        ("vips.0.protocol", "udp"),
        ("backends.0.agent", False),
    ],
)
def test_what_the_reader_takes_is_taken(path: str, value: object) -> None:
    document = changed(path, value)
    assert is_read(document)
    assert is_taken(Kind.FLEET, document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fleet", None),
        ("colour", "red"),
        ("backends.0.adress", "10.0.0.1"),
        ("backends.0.address", None),
        ("backends.0.address", 10),
        ("backends.0.name", "-b1"),
        ("pools.0.backends", "b1"),
        ("pools.0.backends", [{"name": "b1", "weight": 0}]),
        ("pools.0.hash", "random"),
        ("pools.0.affinity_window_s", 0),
        ("pools.0.health", {"interval_s": 1}),
        ("pools.0.flow_table", "yes"),
        ("vips.0.port", "http"),
        ("vips.0.pool", None),
        ("vips.0.wrong_port", "reject"),
    ],
)
def test_what_the_reader_refuses_is_marked(path: str, value: object) -> None:
    document = changed(path, value)
    assert not is_read(document)
    assert not is_taken(Kind.FLEET, document)


def yaml_blocks(text: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_the_daemons_files_of_the_readme_are_taken() -> None:
    node, backend = yaml_blocks((ROOT / "README.md").read_text())[:2]
    assert is_taken(Kind.NODE, node)
    assert is_taken(Kind.BACKEND, backend)
    assert not is_taken(Kind.NODE, {**node, "adress": "10.0.0.1"})
    assert not is_taken(Kind.BACKEND, {**backend, "weight": 0})


def test_a_file_may_leave_everything_to_the_environment() -> None:
    assert is_taken(Kind.NODE, {})
    assert is_taken(Kind.BACKEND, {})


def test_one_listening_address_needs_no_list() -> None:
    assert is_taken(Kind.NODE, {"rpc": {"listen": "127.0.0.1:7946"}})
    assert is_taken(Kind.NODE, {"rpc": {"listen": ["127.0.0.1:7946", "unix:/run/rpc.sock"]}})


def test_every_key_says_what_it_is() -> None:
    for kind in Kind:
        schema = schema_of(kind)
        for name, part in [(kind.value, schema), *schema["$defs"].items()]:
            keys = part.get("properties", {})
            unsaid = [key for key, field in keys.items() if not field.get("description") and key != "kind"]
            assert unsaid == [], (
                f"{name}: say it in lbnode/settings/fleet_about.py, or in the field's description"
            )


def test_what_is_published_is_what_this_release_reads() -> None:
    """`make settings` writes it anew."""
    for path, text in pages().items():
        assert (ROOT / "docs" / path).read_text() == text, f"docs/{path} is old: make settings"
