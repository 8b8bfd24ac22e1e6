"""The secret for the store: read from a closed file, and never said aloud."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lbnode.cli.ctl import app
from lbnode.daemon.tree import read_access
from lbnode.settings.source import BadSettingsError
from lbnode.settings.store import FileStoreSettings, ZooKeeperSettings
from lbnode.settings.store_secret import read_store_secret
from lbnode.store.access import Party, digest_id

PASSWORD = "correct-horse-battery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = CliRunner().invoke(app, ["certs", "store", "--dir", str(tmp_path)])
    assert made.exit_code == 0, made.stderr
    return tmp_path


def zookeeper(file: Path) -> ZooKeeperSettings:
    return ZooKeeperSettings(kind="zookeeper", hosts=("127.0.0.1:2181",), secret_file=file)


def test_the_two_parties_know_each_other_by_name_alone(folder: Path) -> None:
    nodes = read_access(zookeeper(folder / "store-nodes.yaml"), Party.NODES)
    backends = read_access(zookeeper(folder / "store-backends.yaml"), Party.BACKENDS)
    assert nodes is not None
    assert backends is not None
    assert nodes.other == digest_id(Party.BACKENDS, backends.password)
    assert backends.other == digest_id(Party.NODES, nodes.password)
    assert nodes.acl("epochs/web") == backends.acl("epochs/web")
    assert nodes.password not in (folder / "store-backends.yaml").read_text()
    assert nodes.password not in repr(nodes)


def test_without_a_secret_there_is_no_access_to_speak_of(tmp_path: Path) -> None:
    assert read_access(ZooKeeperSettings(kind="zookeeper", hosts=("h:1",)), Party.NODES) is None
    assert read_access(FileStoreSettings(kind="file", path=tmp_path), Party.NODES) is None


def test_the_other_partys_secret_is_refused(folder: Path) -> None:
    with pytest.raises(BadSettingsError, match=r"secret of nodes, .* use store-backends.yaml"):
        read_store_secret(folder / "store-nodes.yaml", "backends")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "party: nodes",
        f"party: nodes\npassword: {PASSWORD}\nother: evenkeel-backends:short",
        f"party: nodes\npassword: {PASSWORD}\nother: nobody:{'A' * 27}=",
        f"party: nodes\npassword: short\nother: evenkeel-backends:{'A' * 27}=",
        f"party: [{PASSWORD}",
    ],
)
def test_a_file_of_no_use_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(BadSettingsError) as caught:
        read_store_secret(file, "nodes")
    assert str(caught.value).startswith(f"store.secret_file: {file} is no secret for the store")
    assert PASSWORD not in str(caught.value)


def test_a_file_that_names_one_party_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(f"party: nodes\npassword: {PASSWORD}\nother: evenkeel-nodes:{'A' * 27}=")
    with pytest.raises(BadSettingsError, match="names nobody but nodes"):
        read_store_secret(file, "nodes")


def test_an_open_file_is_refused_with_the_remedy(folder: Path) -> None:
    file = folder / "store-nodes.yaml"
    file.chmod(0o644)
    with pytest.raises(
        BadSettingsError, match=f"store.secret_file: {file} is open to other users: chmod 600"
    ):
        read_store_secret(file, "nodes")
